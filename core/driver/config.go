package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// LinkConfig is what the user wrote about a link.
type LinkConfig struct {
	Name     string
	Timeout  time.Duration   // for one request on the wire; never zero
	Settings json.RawMessage // the driver's own keys, valid by Info.LinkSchema
	Kept     []byte          // what the link before this one answered to Keep, perhaps in another process; nil: nothing
}

// DeviceConfig is what the user wrote about a device.
type DeviceConfig struct {
	Name     string
	Settings json.RawMessage // the driver's own keys, valid by Info.DeviceSchema
	Points   []Point         // all its points; Points[i].Index == i; not to be changed
}

// A Point is a named datum of a device. Its Index is its place in
// DeviceConfig.Points, so that a driver finds what it compiled for the point
// without a map.
type Point struct {
	Index   int
	Name    string
	Address string // in the driver's own syntax
}

// DecodeSettings decodes a Settings value into the struct that dst points to. An
// unknown key or a wrong type is an InvalidConfig error that names the key. Empty
// settings leave dst as it is, so defaults are set before the call.
func DecodeSettings(settings json.RawMessage, dst any) error {
	if len(bytes.TrimSpace(settings)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(settings))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return &Error{Code: InvalidConfig, Text: strings.TrimPrefix(err.Error(), "json: ")}
	}
	if _, err := d.Token(); err != io.EOF {
		return &Error{Code: InvalidConfig, Text: "settings are followed by more data"}
	}
	return nil
}

// A ConfigError is one thing wrong in a configuration, and where.
type ConfigError struct {
	Device string // empty: the link itself
	Point  string // empty: the device itself
	Key    string // the key in question, "address" for a point's address; may be empty
	Text   string // what is wrong and what to do
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	for _, part := range []struct{ what, name string }{{"device", e.Device}, {"point", e.Point}, {"key", e.Key}} {
		if part.name != "" {
			fmt.Fprintf(&b, "%s %s: ", part.what, part.name)
		}
	}
	b.WriteString(e.Text)
	return b.String()
}

// ConfigErrors returns every ConfigError in err's tree, in order. An error that
// holds none but is not nil is returned as one without a place.
func ConfigErrors(err error) []*ConfigError {
	if err == nil {
		return nil
	}
	var found []*ConfigError
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // this is the walk that errors.As would do, for every match
		case *ConfigError:
			found = append(found, e)
		case interface{ Unwrap() []error }:
			for _, sub := range e.Unwrap() {
				walk(sub)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	if len(found) == 0 {
		found = append(found, &ConfigError{Text: err.Error()})
	}
	return found
}
