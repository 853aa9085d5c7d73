package host

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// heldLines is how many of the lines that are too many are kept until it is known
	// which are the last: those that tell why a driver died.
	heldLines = 200
	// heldFor is how long a driver is silent when a flood counts as over.
	heldFor = time.Second
)

// held is what a flood has left out: how much, and the end of it.
type held struct {
	mu    sync.Mutex
	n     int
	first int
	lines []heldLine // a ring
	over  *time.Timer
}

type heldLine struct {
	at   time.Time
	cut  bool
	text []byte
}

// hold keeps a line until release or for as long as it is among the last. Under mu.
func (p *pump) hold(line []byte, cut bool, now time.Time) {
	h := &p.held
	h.n++
	if h.over == nil {
		h.over = time.AfterFunc(heldFor, p.release)
	} else {
		h.over.Reset(heldFor)
	}
	if p.onLine == nil {
		return
	}
	if len(h.lines) < heldLines {
		h.lines = append(h.lines, heldLine{at: now, cut: cut, text: append([]byte(nil), line...)})
		return
	}
	oldest := &h.lines[h.first]
	oldest.at, oldest.cut, oldest.text = now, cut, append(oldest.text[:0], line...)
	h.first = (h.first + 1) % heldLines
}

// release tells how many lines were left out of the log, and gives the last of them to
// who hears every line.
func (p *pump) release() {
	p.held.mu.Lock()
	defer p.held.mu.Unlock()
	p.releaseHeld()
}

func (p *pump) releaseHeld() {
	h := &p.held
	if h.n == 0 {
		return
	}
	h.over.Stop()
	p.log.Warn("the driver writes too many lines: some are left out", "from", p.source, "lines", h.n)
	if lost := h.n - len(h.lines); p.onLine != nil && lost > 0 {
		p.tell(slog.NewRecord(h.lines[h.first].at, slog.LevelWarn, fmt.Sprintf("%d lines are left out: the driver writes too many", lost), 0))
	}
	for i := range h.lines {
		line := &h.lines[(h.first+i)%len(h.lines)]
		record, _ := p.record(line.text, line.cut, line.at)
		p.tell(record)
	}
	h.n, h.first, h.lines = 0, 0, nil
}
