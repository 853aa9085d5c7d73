package serial

import (
	"context"
	"slices"
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
)

// subscription is one running Subscribe.
type subscription struct {
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
	s := &subscription{ctx: emitting, emit: emit, points: make(map[*request][]*compiled)}
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
	l.listeners = append(l.listeners, s)
}

// unlisten returns when no emit is running, and none will.
func (l *link) unlisten(s *subscription) {
	l.mu.Lock()
	l.listeners = slices.DeleteFunc(l.listeners, func(other *subscription) bool { return other == s })
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
			listeners := slices.Clone(l.listeners)
			dropped := l.dropped
			l.dropped = 0
			l.mu.Unlock()
			if dropped > 0 {
				l.log.Warn("lines were dropped: the gateway took them too slowly", "link", l.name, "count", dropped)
			}
			for _, s := range listeners {
				s.hear(h)
			}
		}
	}
}

// hear emits the samples of one line.
func (s *subscription) hear(h heardLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.batch = s.batch[:0]
	for _, source := range s.sources {
		fields, ok := source.answer.fields(h.text)
		if !ok {
			continue
		}
		for _, p := range s.points[source] {
			sample := driver.Faulted(driver.Errorf(driver.Protocol, "line %s has no column %d", excerpt(h.text), p.field))
			if p.field < len(fields) {
				sample = p.kind.sample(fields[p.field])
			}
			sample.Time = h.at
			s.batch = append(s.batch, driver.PointSample{Point: p.index, Sample: sample})
		}
	}
	if len(s.batch) > 0 {
		// It fails only when the subscription ends, and with it the line's only reader.
		_ = s.emit(s.ctx, s.batch, nil)
	}
}
