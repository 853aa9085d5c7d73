package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A Sample is one value of one point. As JSON it is one line:
//
//	{"link":"line1","device":"m1","point":"u1","value":230.1,"quality":"good","time":"2026-01-02T03:04:05.000000006Z"}
//
// and where the quality is not good, a fault follows, as "timeout: no answer". A gap is written as a bad
// sample with the code "lost"; its names are empty where the gateway does not
// know whose samples they were.
type Sample struct {
	Link, Device, Point string
	Value               driver.Value
	Quality             driver.Quality
	Time                time.Time
	Fault               *Fault // nil when good
}

// A Fault is what went wrong: a code for programs (driver.Code's words) and a
// text for people. In JSON it is one text, "CODE: TEXT".
type Fault struct{ Code, Text string }

// FaultOf returns err as a Fault, and nil for nil.
func FaultOf(err *driver.Error) *Fault {
	if err == nil {
		return nil
	}
	return &Fault{Code: err.Code.String(), Text: err.Text}
}

func (f *Fault) String() string { return f.Code + ": " + f.Text }

// MarshalText is String.
func (f *Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (f *Fault) UnmarshalText(text []byte) error {
	f.Code, f.Text, _ = strings.Cut(string(text), ": ")
	return nil
}

// Path is LINK/DEVICE/POINT.
func (s *Sample) Path() string { return s.Link + "/" + s.Device + "/" + s.Point }

// AppendJSON appends s as one line of JSON without a newline.
func (s *Sample) AppendJSON(dst []byte) []byte {
	dst = appendText(append(dst, `{"link":`...), s.Link)
	dst = appendText(append(dst, `,"device":`...), s.Device)
	dst = appendText(append(dst, `,"point":`...), s.Point)
	dst = s.Value.AppendJSON(append(dst, `,"value":`...))
	dst = append(append(append(dst, `,"quality":"`...), s.Quality.String()...), `","time":"`...)
	dst = append(s.Time.UTC().AppendFormat(dst, timeFormat), '"')
	if s.Fault != nil && s.Quality != driver.Good {
		dst = appendText(append(dst, `,"fault":`...), s.Fault.String())
	}
	return append(dst, '}')
}

// timeFormat is RFC 3339 with always nine digits, so that lines sort and align.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

func appendText(dst []byte, s string) []byte { return driver.StringValue(s).AppendJSON(dst) }

// MarshalJSON is AppendJSON.
func (s Sample) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// UnmarshalJSON reads what AppendJSON writes. A number keeps its kind as far as
// JSON tells it: whole numbers become int64 or uint64, others float64.
func (s *Sample) UnmarshalJSON(line []byte) error {
	var wire struct {
		Link, Device, Point string
		Value               json.RawMessage
		Quality             string
		Time                time.Time
		Fault               *Fault
	}
	if err := json.Unmarshal(line, &wire); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	value, err := ValueOf(wire.Value)
	if err != nil {
		return fmt.Errorf("sample of %s/%s/%s: %w", wire.Link, wire.Device, wire.Point, err)
	}
	quality, err := driver.ParseQuality(wire.Quality)
	if err != nil {
		return fmt.Errorf("sample of %s/%s/%s: %w", wire.Link, wire.Device, wire.Point, err)
	}
	*s = Sample{wire.Link, wire.Device, wire.Point, value, quality, wire.Time, wire.Fault}
	return nil
}

// ValueOf reads a JSON scalar as a value.
func ValueOf(raw json.RawMessage) (driver.Value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return driver.Value{}, nil
	}
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return driver.Value{}, fmt.Errorf("value: %w", err)
		}
		return driver.StringValue(text), nil
	case '{', '[':
		return driver.Value{}, fmt.Errorf("value %.40s: use a number, a text, true, false or null", raw)
	}
	if !json.Valid(raw) {
		return driver.Value{}, fmt.Errorf("value %.40s: is not JSON", raw)
	}
	return driver.ParseValue(string(raw)), nil
}
