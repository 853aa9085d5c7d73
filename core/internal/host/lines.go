package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxLine      = 4 << 10 // bytes kept of one line
	maxLineAttrs = 32      // attributes kept of a structured line
	// A driver may write lineBurst lines at once and lineRate a second on average;
	// the others are counted.
	lineRate  = 100
	lineBurst = 1000
	// oldestLine is how long ago a detached process may have written a line that is read now.
	oldestLine = 24 * time.Hour
)

// pump takes the lines that a driver writes and logs them. A driver can write what it likes: a
// line costs a bounded amount of memory and of the core's log, and nothing in it is trusted.
type pump struct {
	log    *slog.Logger
	source string // stdout or stderr
	keep   *tail
	onLine func(Line) // may be nil
	pid    int
	oldest time.Duration // age of a time that a line may have of itself

	tokens float64
	filled time.Time
	dry    bool // tokens ran out: none are given until there are some for a second
	held   held
}

func newPump(log *slog.Logger, source string, keep *tail, onLine func(Line), pid int) *pump {
	return &pump{log: log, source: source, keep: keep, onLine: onLine, pid: pid, oldest: time.Minute, tokens: lineBurst, filled: time.Now()}
}

// oneAtATime lets a function that the pumps of both streams call be simple.
func oneAtATime(onLine func(Line)) func(Line) {
	if onLine == nil {
		return nil
	}
	var mu sync.Mutex
	return func(l Line) {
		mu.Lock()
		defer mu.Unlock()
		onLine(l)
	}
}

// run reads to the end.
func (p *pump) run(from *bufio.Reader) {
	for {
		line, cut, err := readLine(from)
		if err != nil {
			p.release()
			return
		}
		if len(line) > 0 {
			p.take(line, cut)
		}
	}
}

// readLine returns one line without its end, at most as long as the reader's buffer; cut says
// that there was more. The line is valid until the next call.
func readLine(from *bufio.Reader) (line []byte, cut bool, err error) {
	line, err = from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = slices.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			cut = true
			_, err = from.ReadSlice('\n')
		}
	}
	if err != nil && len(line) == 0 {
		return nil, false, err
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next call tells it again
	}
	return line, cut, err
}

func (p *pump) take(line []byte, cut bool) {
	if len(line) > maxLine {
		line, cut = line[:maxLine], true
	}
	p.keep.add(line)
	now := time.Now()
	p.held.mu.Lock()
	defer p.held.mu.Unlock()
	if !p.allowed(now) {
		p.hold(line, cut, now)
		return
	}
	p.releaseHeld()
	record, whole := p.record(line, cut, now)
	p.tell(record)
	if !whole {
		record.AddAttrs(slog.String("from", p.source))
	}
	if cut {
		record.AddAttrs(slog.Bool("cut", true))
	}
	ctx := context.Background()
	if p.log.Enabled(ctx, record.Level) {
		// An error of the log's writer has nowhere to go.
		_ = p.log.Handler().Handle(ctx, record)
	}
}

// record is what a line becomes: a record of its own, where it is one and whole, or a text.
func (p *pump) record(line []byte, cut bool, at time.Time) (r slog.Record, whole bool) {
	r, whole = parseLine(line, at, p.oldest)
	if !whole || cut {
		return slog.NewRecord(at, plainLevel(line), strings.ToValidUTF8(string(line), "\uFFFD"), 0), false
	}
	return r, true
}

func (p *pump) tell(r slog.Record) {
	if p.onLine == nil {
		return
	}
	line := Line{Time: r.Time, Level: r.Level, Stream: p.source, PID: p.pid, Text: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		line.Attrs = append(line.Attrs, a)
		return true
	})
	p.onLine(line)
}

func (p *pump) allowed(now time.Time) bool {
	p.tokens = min(lineBurst, p.tokens+now.Sub(p.filled).Seconds()*lineRate)
	p.filled = now
	if p.tokens < 1 || p.dry && p.tokens < lineRate {
		p.dry = true
		return false
	}
	p.dry = false
	p.tokens--
	return true
}

// plainLevel guesses the level of a line that does not say it.
func plainLevel(line []byte) slog.Level {
	text := string(line[:min(len(line), 32)])
	if isPanic(text) {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// parseLine reads a line of slog's or hclog's JSON form. Anything else, however
// near to it, is not ok and is logged as the text that it is.
func parseLine(line []byte, now time.Time, oldest time.Duration) (r slog.Record, ok bool) {
	if len(line) == 0 || line[0] != '{' {
		return r, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return r, false
	}
	message, ok := textField(fields, "msg", "@message")
	if !ok {
		return r, false
	}
	levelText, _ := textField(fields, "level", "@level")
	at, _ := textField(fields, "time", "@timestamp")
	r = slog.NewRecord(lineTime(at, now, oldest), lineLevel(levelText), message, 0)
	keys := make([]string, 0, len(fields))
	for key := range fields {
		if !reservedKey(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys[:min(len(keys), maxLineAttrs)] {
		r.AddAttrs(lineAttr(key, fields[key]))
	}
	return r, true
}

// textField takes the first of the two keys that is a text out of fields.
func textField(fields map[string]json.RawMessage, keys ...string) (text string, ok bool) {
	for _, key := range keys {
		raw, present := fields[key]
		if present && json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
			delete(fields, key)
			return text, true
		}
	}
	return "", false
}

// reservedKey tells keys that the core's own log sets: a driver cannot speak for another.
func reservedKey(key string) bool {
	switch key {
	case "", "driver", "pid", "time", "level", "msg", "source", "@module", "@caller":
		return true
	}
	return false
}

func lineAttr(key string, raw json.RawMessage) slog.Attr {
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return slog.String(key, text)
	}
	var number float64
	if json.Unmarshal(raw, &number) == nil && string(raw) != "null" {
		return slog.Float64(key, number)
	}
	return slog.String(key, string(raw)) // true, false, null, and whatever is nested
}

func lineLevel(text string) slog.Level {
	if strings.EqualFold(text, "trace") {
		return slog.LevelDebug
	}
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return slog.LevelInfo
	}
	return level
}

// lineTime takes the driver's time where it can be this line's.
func lineTime(text string, now time.Time, oldest time.Duration) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.After(now.Add(time.Minute)) || at.Before(now.Add(-oldest)) {
		return now
	}
	return at
}

// tail keeps the last lines, and the first of a panic, whose trace is longer than what is kept.
type tail struct {
	mu    sync.Mutex
	lines []string
	first int
	panic string
}

func newTail(n int) *tail { return &tail{lines: make([]string, 0, n)} }

func (t *tail) add(line []byte) {
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panic == "" && isPanic(text) {
		t.panic = text
	}
	if len(t.lines) < cap(t.lines) {
		t.lines = append(t.lines, text)
		return
	}
	t.lines[t.first] = text
	t.first = (t.first + 1) % len(t.lines)
}

func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := slices.Concat(t.lines[t.first:], t.lines[:t.first])
	if t.panic != "" && !slices.Contains(lines, t.panic) {
		lines[0] = t.panic
	}
	return lines
}

// tailOf is the last lines of a text.
func tailOf(text []byte, n int) []string {
	keep := newTail(n)
	for line := range bytes.Lines(text) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			keep.add(line[:min(len(line), maxLine)])
		}
	}
	return keep.last()
}
