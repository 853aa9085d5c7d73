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
//
// Gap is the least time between the end of an answer, or of the wait for one, and the next
// request on the wire, whichever device that is to. The engine keeps it between two calls; a
// driver whose call takes several requests keeps it between those. A link with a gap has one
// call in flight, also where it is a Pipeliner.
type LinkConfig struct {
	Name     string
	Timeout  time.Duration   // for one request on the wire; never zero
	Gap      time.Duration   // least silence before each request: see below; zero: none is needed
	Settings json.RawMessage // the driver's own keys, valid by Info.LinkSchema
	Kept     []byte          // what the link before this one answered to Keep, perhaps in another process; nil: nothing
}

// DeviceConfig is what the user wrote about a device.
type DeviceConfig struct {
	Name     string
	Settings json.RawMessage // the driver's own keys, valid by Info.DeviceSchema
	Points   []Point         // all its points; Points[i].Index == i; not to be changed
}

// A Point is a named datum of a device. Its Index is its place in DeviceConfig.Points, so that
// a driver finds what it compiled for the point without a map.
type Point struct {
	Index   int
	Name    string
	Address string // in the driver's own syntax
	Access  Access // what the configuration lets be done with it
}

// Access is what the configuration lets be done with a point. The zero Access is both.
type Access uint8

// What may be done with a point.
const (
	ReadWrite Access = iota
	ReadOnly
	WriteOnly
)

// Reads reports whether the point may be read: then it is polled, or subscribed to.
func (a Access) Reads() bool { return a != WriteOnly }

// Writes reports whether the point may be written.
func (a Access) Writes() bool { return a != ReadOnly }

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

// A ConfigError is one thing wrong in a configuration: by names what it is about, and where
// in the files that was written. A driver knows names only, and is asked about one link at a
// time: it leaves Link and Place to the core.
type ConfigError struct {
	Link   string // empty: no link
	Device string // empty: the link itself
	Point  string // empty: the device itself
	Key    string // the key in question, "address" for a point's address; may be empty
	Text   string // what is wrong and what to do
	Place
}

// A Place is where something is written in the files of a configuration. The zero Place is
// not known.
type Place struct {
	File         string
	Line, Column int    // from 1; 0 where it is about the whole file
	Path         string // the keys down to the value: links.line1.timeout; may be empty
}

// Error formats e as `file:line:column: path: text`; without a place, by its names.
func (e *ConfigError) Error() string {
	var parts []string
	if e.Place == (Place{}) {
		for _, p := range []struct{ what, name string }{{"link", e.Link}, {"device", e.Device}, {"point", e.Point}, {"key", e.Key}} {
			if p.name != "" {
				parts = append(parts, p.what+" "+p.name)
			}
		}
		return strings.Join(append(parts, e.Text), ": ")
	}
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", at, e.Line, e.Column)
	}
	for _, s := range []string{at, e.Path, e.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
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
