package main

import (
	"bytes"
	"io"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

// A lineWriter writes samples as lines for people. It takes them as the gateway's lines of
// JSON and decodes nothing, so that it is faster than any gateway.
type lineWriter struct {
	s      *screen
	to     io.Writer
	line   client.Line
	text   []byte
	second [len("2006-01-02T15:04:05")]byte // of the last time, as it came ...
	local  [len("2006-01-02T15:04:05")]byte // ... and in local time
	known  bool
	now    func() time.Time
}

func newLineWriter(s *screen) *lineWriter { return &lineWriter{s: s, to: s.out, now: time.Now} }

// Write writes whole lines of JSON as lines for people.
func (w *lineWriter) Write(lines []byte) (int, error) {
	w.text = w.text[:0]
	for rest := lines; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if err := w.line.Parse(line); err != nil {
			return 0, err
		}
		w.text = append(w.append(w.text, &w.line), '\n')
	}
	_, err := w.to.Write(w.text)
	return len(lines), err
}

func (w *lineWriter) append(dst []byte, l *client.Line) []byte {
	if len(l.Link) == 0 && len(l.Fault) > 0 {
		at := append(w.appendTime(nil, l.Time), "  "...)
		return append(dst, w.s.paint(yellow, string(appendClean(at, l.Fault)))...)
	}
	dst = append(w.appendTime(dst, l.Time), "  "...)
	dst = append(appendPath(dst, l), "  "...)
	dst = append(appendValue(dst, l.Value, l.Unit, string(l.Quality)), "  "...)
	dst = w.appendQuality(dst, l.Quality)
	if len(l.Fault) > 0 {
		dst = appendClean(append(dst, "  "...), l.Fault)
	}
	if l.Last != nil && len(l.Time) > 0 {
		dst = append(append(dst, "  "...), lastText(l, w.now())...)
	}
	return dst
}

func (w *lineWriter) appendQuality(dst, quality []byte) []byte {
	if !w.s.colour {
		return append(dst, quality...)
	}
	return append(dst, w.s.paint(qualityColour(string(quality)), string(quality))...)
}

// appendTime appends a time in local time, to the millisecond.
func (w *lineWriter) appendTime(dst, at []byte) []byte {
	n := len(w.second)
	if len(at) == 0 {
		return append(dst, "-                      "...) // as wide as a time
	}
	if len(at) < n+len(".000Z") || at[n] != '.' {
		return appendClean(dst, at) // the gateway writes none such
	}
	if !w.known || string(at[:n]) != string(w.second[:]) {
		t, err := time.Parse(time.RFC3339Nano, string(at))
		if err != nil {
			return appendClean(dst, at)
		}
		copy(w.second[:], at)
		w.known = copy(w.local[:], t.Local().Format("2006-01-02T15:04:05")) == n
	}
	return append(append(dst, w.local[:]...), at[n:n+len(".000")]...)
}

func appendPath(dst []byte, l *client.Line) []byte {
	dst = append(appendClean(dst, l.Link), '/')
	dst = append(appendClean(dst, l.Device), '/')
	return appendClean(dst, l.Point)
}

// appendValue appends a value with its unit, if it has a value.
func appendValue(dst, value, unit []byte, quality string) []byte {
	text, err := client.Text(value)
	if err != nil {
		text = value
	}
	dst = appendClean(dst, text)
	if len(unit) > 0 && quality != "bad" {
		dst = appendClean(append(dst, ' '), unit)
	}
	return dst
}

// appendClean is printable, without the copy where there is nothing to replace.
func appendClean(dst, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= 0x7f {
			return append(dst, printable(string(text))...)
		}
	}
	return append(dst, text...)
}

// lastText is what is known beside a last value: its age, since when it has not changed,
// and the last good one where this is none.
func lastText(l *client.Line, now time.Time) string {
	since, good, goodTime := l.LastOf()
	text := ageOf(l.Time, now) + " ago"
	if at := timeOf(since); !at.IsZero() {
		text += ", unchanged since " + clockOf(at, now)
	}
	if at := timeOf(goodTime); !at.IsZero() {
		text += ", last good " + string(appendValue(nil, good, l.Unit, "good")) + " at " + clockOf(at, now)
	}
	return "(" + text + ")"
}

func ageOf(at []byte, now time.Time) string { return ago(timeOf(at), now) }

// timeOf is a time of the gateway's; zero where it is none.
func timeOf(text []byte) time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}
	}
	return t
}

// clockOf is a time of day, with the day where it is another than now's.
func clockOf(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

func qualityColour(quality string) string {
	switch quality {
	case "good":
		return green
	case "uncertain":
		return yellow
	}
	return red
}
