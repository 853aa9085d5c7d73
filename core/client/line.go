package client

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A Line is one line of samples taken apart but not decoded: what a program needs that
// shows or counts samples and does not reckon with them. Value, Last and the fields of Last
// are JSON; the others are texts. Its slices are parts of the line, where nothing in
// it was escaped, and are valid as long as that is.
type Line struct {
	Link, Device, Point, Value, Unit, Quality, Time, Fault, Last, Stored, Position []byte
}

var errLine = errors.New("line of samples: not an object of JSON")

// Parse takes a line apart. Keys that it does not know are left out.
func (l *Line) Parse(line []byte) error {
	*l = Line{}
	return eachKey(line, func(key, raw []byte) error {
		var to *[]byte
		switch string(key) {
		case "value":
			l.Value = raw
			return nil
		case "last":
			l.Last = raw
			return nil
		case "link":
			to = &l.Link
		case "device":
			to = &l.Device
		case "point":
			to = &l.Point
		case "unit":
			to = &l.Unit
		case "quality":
			to = &l.Quality
		case "time":
			to = &l.Time
		case "fault":
			to = &l.Fault
		case "stored":
			to = &l.Stored
		case "position":
			to = &l.Position
		default:
			return nil
		}
		var err error
		*to, err = Text(raw)
		return err
	})
}

// LastOf takes the fields of Line.Last apart; each is nil where it is not there.
func (l *Line) LastOf() (since, good, goodTime []byte) {
	_ = eachKey(l.Last, func(key, raw []byte) (err error) {
		switch string(key) {
		case "since":
			since, err = Text(raw)
		case "good":
			good = raw
		case "good_time":
			goodTime, err = Text(raw)
		}
		return err
	}) // what is wrong with it is left out
	return since, good, goodTime
}

// Text is the text of a JSON string, and any other JSON as it is.
func Text(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return raw, nil
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return []byte(text), err
}

// eachKey calls f with every key of an object and its value as it stands there.
func eachKey(object []byte, f func(key, raw []byte) error) error {
	if len(object) < 2 || object[0] != '{' {
		return errLine
	}
	rest := object[1:]
	for len(rest) > 0 && rest[0] == '"' {
		n := endOfString(rest)
		if n < 0 || n >= len(rest) || rest[n] != ':' {
			return errLine
		}
		key := rest[1 : n-1]
		rest = rest[n+1:]
		n = endOfValue(rest)
		if n <= 0 || n >= len(rest) {
			return errLine
		}
		if err := f(key, rest[:n]); err != nil {
			return err
		}
		if rest[n] == ',' {
			n++
		}
		rest = rest[n:]
	}
	if string(rest) != "}" {
		return errLine
	}
	return nil
}

// endOfString returns the offset behind the string that b begins with, or -1.
func endOfString(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if i++; escapes%2 == 0 {
			return i
		}
	}
}

// endOfValue returns the offset behind the value that b begins with, or -1.
func endOfValue(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	switch b[0] {
	case '"':
		return endOfString(b)
	case '{', '[':
		return endOfNested(b)
	}
	for i, c := range b {
		if c == ',' || c == '}' {
			return i
		}
	}
	return -1
}

// endOfNested is endOfValue of an object or an array.
func endOfNested(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := endOfString(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
