package serial

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// subscription is one running Subscribe.
type subscription struct {
	device  string
	env     driver.Env
	ctx     context.Context // done when Subscribe ends; bounds every emit
	emit    driver.EmitFunc
	sources []*request
	points  map[*request][]*compiled

	mu    sync.Mutex // held during an emit, so that none outlasts Subscribe
	ended bool
	batch []driver.PointSample
}

// Subscribe delivers the fields of lines as they come.
func (d listening) Subscribe(ctx context.Context, points []driver.Point, emit driver.EmitFunc) error {
	emitting, cancel := context.WithCancel(ctx)
	s := &subscription{device: d.name, env: d.link.env, ctx: emitting, emit: emit, points: make(map[*request][]*compiled)}
	for _, p := range points {
		c := d.points[p.Index]
		if c.source == nil {
			continue // it can only be written
		}
		if s.points[c.source] == nil {
			s.sources = append(s.sources, c.source)
		}
		s.points[c.source] = append(s.points[c.source], c)
	}
	d.link.listen(s)
	defer d.link.unlisten(s)
	defer cancel()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.link.lost:
		return d.link.cause()
	}
}

func (l *link) listen(s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners = append(slices.Clone(l.listeners), s) // lines have the list before
}

// unlisten returns when no emit is running, and none will.
func (l *link) unlisten(s *subscription) {
	l.mu.Lock()
	l.listeners = slices.DeleteFunc(slices.Clone(l.listeners), func(other *subscription) bool { return other == s })
	l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// tellListeners hands lines on, in order. It waits while the gateway can't take
// them, which the reader must not.
func (l *link) tellListeners(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-l.heard:
			l.mu.Lock()
			listeners := l.listeners
			dropped := l.dropped
			l.dropped = 0
			l.mu.Unlock()
			if dropped > 0 {
				l.log.Warn("lines were dropped: the gateway took them too slowly", "link", l.name, "count", dropped)
			}
			h.tell(listeners)
		}
	}
}

// tell hands a line to those who listen now. One that listened when it came and does not any
// more has lost it, unless another subscription of the device has taken its place.
func (h *heardLine) tell(listeners []*subscription) {
	for _, s := range listeners {
		if !s.hear(h) {
			s.lose(h.text, h.at, whyClosed)
		}
	}
	for _, s := range h.to {
		if !slices.ContainsFunc(listeners, func(other *subscription) bool { return other.device == s.device }) {
			s.lose(h.text, h.at, whyClosed)
		}
	}
}

// Why lines do not become samples.
const (
	whyFull   = "lines were dropped: the gateway took them more slowly than they came"
	whyClosed = "lines that had come were not taken before the link or the device was stopped"
	whyLong   = "a line longer than max_line was thrown away"
)

// lose tells of the samples that a line would have been.
func (s *subscription) lose(text string, at time.Time, why string) {
	n := 0
	for _, source := range s.sources {
		if _, ok := source.answer.fields(text); ok {
			n += len(s.points[source])
		}
	}
	if n > 0 {
		s.env.Lost(driver.Loss{Device: s.device, Samples: uint64(n), From: at, To: at, Cause: why})
	}
}

// leave tells of the lines that nobody will take any more. The link's workers have ended.
func (l *link) leave() {
	for {
		select {
		case h := <-l.heard:
			h.tell(nil)
		default:
			return
		}
	}
}

// sampleOf is the sample of a point in a line whose fields are these.
func (c *compiled) sampleOf(h *heardLine, fields []string) driver.Sample {
	switch {
	case h.wrong != "":
		return driver.Faulted(driver.Errorf(driver.Protocol, "line %s: %s", excerpt(h.text), h.wrong))
	case c.binary != nil:
		return c.binary.sample(h.text)
	case c.field >= len(fields):
		return driver.Faulted(driver.Errorf(driver.Protocol, "line %s has no column %d", excerpt(h.text), c.field))
	}
	return c.kind.sample(fields[c.field])
}

// hear emits the samples of one line, and reports whether they were taken.
func (s *subscription) hear(h *heardLine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.batch = s.batch[:0]
	for _, source := range s.sources {
		fields, ok := source.answer.fields(h.text)
		if !ok {
			continue
		}
		for _, p := range s.points[source] {
			sample := p.sampleOf(h, fields)
			sample.Time = h.at
			s.batch = append(s.batch, driver.PointSample{Point: p.index, Sample: sample})
		}
	}
	return len(s.batch) == 0 || s.emit(s.ctx, s.batch, nil) == nil // it fails when the subscription ends
}
