// Package record keeps what passes between a gateway and a real device, and plays it back.
//
// A Recording is a list of steps in their order: bytes that were sent to the device, and bytes
// that came from it. A Recorder makes one of a live connection, on whose way it stands; a Player
// stands for the device afterwards: it answers each request that was recorded with the bytes
// that came then, after the time that it took then.
package record

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Form says what of a request may differ when it is played back.
type Form string

// The forms.
const (
	Raw  Form = "raw"  // nothing
	MBAP Form = "mbap" // the transaction id of Modbus TCP, which the answers then have too
)

// Limits of a recording.
const (
	maxSteps = 100_000
	maxBytes = 16 << 20 // of all steps
	maxStep  = 64 << 10 // of one
)

// A Step is bytes that went one way.
type Step struct {
	At   time.Duration // since the beginning
	Conn int           // which connection, from 1
	Sent bool          // to the device; else from it
	Data []byte
}

// A Recording is what passed.
type Recording struct {
	Of    string // the device's address
	Form  Form
	Steps []Step
}

// Write writes a recording as text: a head, and a line a step with its time, the number of its
// connection, > for what was sent and < for what came, the bytes in hexadecimal, and what of
// them can be read.
//
//	fieldloom recording 1
//	of: 192.0.2.17:502
//	form: mbap
//	0.000000 1 > 000100000006010300000002  # ............
//	0.004210 1 < 0001000000070103040000002a  # ............*
func (r *Recording) Write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\nof: %s\nform: %s\n", head, r.Of, r.Form); err != nil {
		return err
	}
	for i := range r.Steps {
		if _, err := io.WriteString(w, r.Steps[i].line()); err != nil {
			return err
		}
	}
	return nil
}

const head = "fieldloom recording 1"

func (s *Step) line() string {
	way := "<"
	if s.Sent {
		way = ">"
	}
	return fmt.Sprintf("%.6f %d %s %x  # %s\n", s.At.Seconds(), s.Conn, way, s.Data, readable(s.Data))
}

// readable is what of bytes can be read, with a dot for the others.
func readable(b []byte) string {
	const most = 64
	text := make([]byte, 0, most)
	for _, c := range b[:min(len(b), most)] {
		if c < 0x20 || c > 0x7E {
			c = '.'
		}
		text = append(text, c)
	}
	return string(text)
}

// Read reads a recording. An error has the number of its line.
func Read(from io.Reader) (*Recording, error) {
	text, err := io.ReadAll(io.LimitReader(from, 4*maxBytes))
	if err != nil {
		return nil, err
	}
	r := &Recording{Form: Raw}
	total := 0
	for n, line := range strings.Split(string(text), "\n") {
		if n == 0 {
			if line != head {
				return nil, fmt.Errorf("line 1: it is no recording: it begins with %.40q and not with %q", line, head)
			}
			continue
		}
		if err := r.take(line, &total); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return r, nil
}

// take takes one line.
func (r *Recording) take(line string, total *int) error {
	line, _, _ = strings.Cut(line, "#")
	line = strings.TrimRightFunc(line, unicode.IsSpace)
	if line == "" {
		return nil
	}
	if key, value, ok := strings.Cut(line, ":"); ok {
		value = strings.TrimSpace(value)
		switch key {
		case "of":
			r.Of = value
		case "form":
			if r.Form = Form(value); r.Form != Raw && r.Form != MBAP {
				return fmt.Errorf("form %q is not raw or mbap", value)
			}
		default:
			return fmt.Errorf("%q is unknown: it is of or form", key)
		}
		return nil
	}
	s, err := stepOf(line)
	if err != nil {
		return err
	}
	if n := len(r.Steps); n > 0 && s.At < r.Steps[n-1].At {
		return fmt.Errorf("it is %v after the beginning, and the step before it %v", s.At, r.Steps[n-1].At)
	}
	if *total += len(s.Data); *total > maxBytes || len(r.Steps) == maxSteps {
		return fmt.Errorf("a recording has at most %d steps and %d bytes", maxSteps, maxBytes)
	}
	r.Steps = append(r.Steps, s)
	return nil
}

func stepOf(line string) (s Step, err error) {
	words := strings.Fields(line)
	if len(words) != 4 || words[2] != ">" && words[2] != "<" {
		return s, fmt.Errorf("%.60q is no step: TIME CONNECTION > BYTES, or <", line)
	}
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil || seconds < 0 || seconds > 1e7 {
		return s, fmt.Errorf("%q is no time in seconds", words[0])
	}
	if s.Conn, err = strconv.Atoi(words[1]); err != nil || s.Conn < 1 {
		return s, fmt.Errorf("%q is no number of a connection", words[1])
	}
	if s.Data, err = hex.DecodeString(words[3]); err != nil || len(s.Data) == 0 || len(s.Data) > maxStep {
		return s, fmt.Errorf("%.40q are no bytes in hexadecimal", words[3])
	}
	s.At, s.Sent = time.Duration(seconds*float64(time.Second)), words[2] == ">"
	return s, nil
}
