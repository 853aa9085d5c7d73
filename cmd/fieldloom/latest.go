package main

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

// latest is a live table of the latest sample of each point. Its methods may be called
// concurrently.
type latest struct {
	s      *screen
	canvas canvas

	mu     sync.Mutex
	rows   map[string]*latestRow
	names  []string // sorted
	dirty  bool     // names is not
	taken  uint64
	notice string
	line   client.Line
	name   []byte
	json   []byte
}

// latestRow is what is shown of a point.
type latestRow struct{ value, quality, time, fault []byte }

func newLatest(s *screen) *latest {
	return &latest{s: s, canvas: canvas{s: s}, rows: make(map[string]*latestRow)}
}

// Write takes whole lines of JSON.
func (t *latest) Write(lines []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := lines; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if err := t.line.Parse(line); err != nil {
			return 0, err
		}
		t.takeLine(&t.line)
	}
	return len(lines), nil
}

// take takes one sample.
func (t *latest) take(sample client.Sample) {
	t.json = append(sample.AppendJSON(t.json[:0]), '\n')
	_, _ = t.Write(t.json) // it is a line
}

func (t *latest) takeLine(l *client.Line) {
	if l.Last == nil {
		t.taken++
	}
	if len(l.Link) == 0 && len(l.Fault) > 0 {
		t.notice = timeOf(l.Time).Local().Format("15:04:05 ") + string(l.Fault)
		return
	}
	t.name = appendPath(t.name[:0], l)
	row := t.rows[string(t.name)]
	if row == nil {
		row = new(latestRow)
		t.rows[string(t.name)] = row
		t.names = append(t.names, string(t.name))
		t.dirty = true
	}
	row.value = appendValue(row.value[:0], l.Value, l.Unit, string(l.Quality))
	row.quality = append(row.quality[:0], l.Quality...)
	row.time = append(row.time[:0], l.Time...)
	row.fault = append(row.fault[:0], l.Fault...)
}

// note shows a text below the points.
func (t *latest) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notice = text
}

func (t *latest) draw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dirty {
		slices.Sort(t.names)
		t.dirty = false
	}
	width, height := t.s.size()
	g := new(grid)
	g.add(bold, "POINT", "VALUE", "QUALITY", "AGE", "FAULT")
	now := time.Now()
	for _, name := range t.names[:min(len(t.names), height)] {
		row := t.rows[name]
		g.add(qualityColour(string(row.quality)), name, short(string(row.value), 40), string(row.quality), ageOf(row.time, now), string(row.fault))
	}
	foot := fmt.Sprintf("%d points, %d samples", len(t.names), t.taken)
	if t.notice != "" {
		foot += "; " + short(printable(t.notice), max(width-len(foot)-2, 10))
	}
	t.canvas.draw(append([]string{short(foot, width)}, g.lines(t.s, width)...), max(len(t.names)-height, 0))
}

func short(text string, limit int) string {
	if r := []rune(text); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return text
}
