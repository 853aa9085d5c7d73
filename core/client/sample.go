package client

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A Sample is one value of one point. As JSON it is one line:
//
//	{"link":"line1","device":"m1","point":"u1","value":230.1,"quality":"good","time":"2026-01-02T03:04:05.000000006Z","unit":"V"}
//
// and where the quality is not good, a fault follows the time, as "timeout: no answer". The
// unit is left out where there is none. One of a stream ends with "stored", when the gateway
// stored it, and "position", where the stream goes on after it. A gap is written as a bad
// sample with the code "lost"; its names are empty where the gateway does not know whose
// samples they were.
type Sample struct {
	Link, Device, Point string
	Value               driver.Value
	Unit                string // to show the value in; may be empty
	Quality             driver.Quality
	Time                time.Time
	Fault               *Fault    // nil when good
	Last                *Last     // set: it is the last value of its point, and not one of a stream; its time is zero where none is known
	Stored              time.Time // zero: it was not read from what is stored
	Position            Position
}

// Last is what is known of a point beside its last sample.
type Last struct {
	Since    time.Time    // when the sample was sent from which the value has differed by no more than the deadband; zero: not known
	Good     driver.Value // where the quality is not good: the last value that was, ...
	GoodTime time.Time    // ... and its time; zero: none is known
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
func (s *Sample) AppendJSON(dst []byte) []byte { return new(Encoder).Append(dst, s) }

// An Encoder appends samples as lines of JSON. The zero Encoder is ready for use, and
// faster for samples of one device that follow each other and whose times are close.
type Encoder struct {
	link, device string // of the sample before
	names        []byte // how its line began
	time, stored clock
	since, good  clock
}

// Append is Sample.AppendJSON.
func (e *Encoder) Append(dst []byte, s *Sample) []byte {
	if e.names == nil || s.Link != e.link || s.Device != e.device {
		e.link, e.device = s.Link, s.Device
		e.names = appendText(append(e.names[:0], `{"link":`...), s.Link)
		e.names = appendText(append(e.names, `,"device":`...), s.Device)
		e.names = append(e.names, `,"point":`...)
	}
	dst = appendText(append(dst, e.names...), s.Point)
	dst = s.Value.AppendJSON(append(dst, `,"value":`...))
	dst = append(append(append(dst, `,"quality":"`...), s.Quality.String()...), '"')
	if s.Last == nil || !s.Time.IsZero() {
		dst = e.time.append(dst, `,"time":"`, s.Time)
	}
	if s.Fault != nil && s.Quality != driver.Good {
		dst = appendText(append(dst, `,"fault":`...), s.Fault.String())
	}
	if s.Unit != "" {
		dst = appendText(append(dst, `,"unit":`...), s.Unit)
	}
	if s.Last != nil {
		dst = e.appendLast(append(dst, `,"last":{`...), s.Last)
	}
	if !s.Stored.IsZero() {
		dst = e.stored.append(dst, `,"stored":"`, s.Stored)
	}
	if !s.Position.IsZero() {
		dst = append(s.Position.Append(append(dst, positionKey...)), '"')
	}
	return append(dst, '}')
}

// positionKey begins the position of a line. No text of JSON has it: a quote within one
// has a backslash before it.
const positionKey = `,"position":"`

func (e *Encoder) appendLast(dst []byte, l *Last) []byte {
	if !l.Since.IsZero() {
		dst = e.since.append(dst, `"since":"`, l.Since)
	}
	if !l.GoodTime.IsZero() {
		if !l.Since.IsZero() {
			dst = append(dst, ',')
		}
		dst = l.Good.AppendJSON(append(dst, `"good":`...))
		dst = e.good.append(dst, `,"good_time":"`, l.GoodTime)
	}
	return append(dst, '}')
}

// timeFormat is RFC 3339 with always nine digits, so that lines sort and align.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// A clock formats times, and keeps the text of the last one.
type clock struct {
	second int64
	nanos  int
	text   [len("2006-01-02T15:04:05.000000000Z\"")]byte
	known  bool
}

// append appends a key with its opening quote, a time, and the closing quote.
func (c *clock) append(dst []byte, key string, t time.Time) []byte {
	dst = append(dst, key...)
	second, nanos := t.Unix(), t.Nanosecond()
	if !c.known || c.second != second {
		start := len(dst)
		dst = append(t.UTC().AppendFormat(dst, timeFormat), '"')
		if c.known = len(dst)-start == len(c.text); c.known {
			c.second, c.nanos = second, nanos
			copy(c.text[:], dst[start:])
		}
		return dst
	}
	if c.nanos != nanos {
		c.nanos = nanos
		for i := len(c.text) - len(`0Z"`); nanos > 0 || c.text[i] != '.'; i-- {
			c.text[i] = byte('0' + nanos%10)
			nanos /= 10
		}
	}
	return append(dst, c.text[:]...)
}

func appendText(dst []byte, s string) []byte { return driver.StringValue(s).AppendJSON(dst) }

// MarshalJSON is AppendJSON.
func (s Sample) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// UnmarshalJSON reads what AppendJSON writes. A number keeps its kind as far as
// JSON tells it: whole numbers become int64 or uint64, others float64.
func (s *Sample) UnmarshalJSON(line []byte) error {
	var wire struct {
		Link, Device, Point, Unit string
		Value                     json.RawMessage
		Quality                   string
		Time, Stored              time.Time
		Fault                     *Fault
		Position                  Position
		Last                      *struct {
			Since    time.Time
			Good     json.RawMessage
			GoodTime time.Time `json:"good_time"`
		}
	}
	if err := json.Unmarshal(line, &wire); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	value, err1 := ValueOf(wire.Value)
	quality, err2 := driver.ParseQuality(wire.Quality)
	var last *Last
	var err3 error
	if wire.Last != nil {
		last = &Last{Since: wire.Last.Since, GoodTime: wire.Last.GoodTime}
		last.Good, err3 = ValueOf(wire.Last.Good)
	}
	if err := cmp.Or(err1, err2, err3); err != nil {
		return fmt.Errorf("sample of %s/%s/%s: %w", wire.Link, wire.Device, wire.Point, err)
	}
	*s = Sample{wire.Link, wire.Device, wire.Point, value, wire.Unit, quality, wire.Time, wire.Fault, last, wire.Stored, wire.Position}
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
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return numberOf(raw)
	}
	return driver.ParseValue(string(raw)), nil
}

// numberOf refuses what would be written as another number: none has its size.
func numberOf(raw []byte) (driver.Value, error) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return driver.Value{}, fmt.Errorf("value %.40s: is too large", raw)
	}
	if mantissa, _, _ := bytes.Cut(bytes.ToLower(raw), []byte("e")); f == 0 && bytes.ContainsAny(mantissa, "123456789") {
		return driver.Value{}, fmt.Errorf("value %.40s: is so small that it would be written as 0", raw)
	}
	return driver.ParseValue(string(raw)), nil
}
