package supervise

import (
	"context"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// askLimit is how long one question for the status goes on, whoever still waits for
	// its answer; for each link of the process there is more.
	askLimit = 10 * time.Second
	// linkLimit is how much longer a call may take for each link that it is about: measured
	// are some microseconds, and a busy machine may need a thousand times as much.
	linkLimit = 20 * time.Millisecond
)

// allowance is how long a call about n links may take.
func allowance(limit time.Duration, n int) time.Duration { return limit + time.Duration(n)*linkLimit }

// counted is what a process has reported of its counters. A busy one reports those of its ring
// with its heartbeats, and answers a question for the rest late.
type counted struct {
	mu        sync.Mutex
	ring      control.RingStatus // of the latest heartbeat or answer
	knowsRing bool               // ring was reported
	last      *control.Status    // the latest answer; nil: there was none
	lastAt    time.Time          // when it came
	asking    chan struct{}      // closed when the question in hand is answered, or given up; nil: there is none
}

// takeRing takes the counters of a heartbeat.
func (c *counted) takeRing(r control.RingStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring, c.knowsRing = r, true
}

// ask begins to ask for the status, unless a question is in hand, and returns what is
// closed when that is over. The caller holds the pool's mu, and the pool has not ended.
func (c *counted) ask(l *life) <-chan struct{} {
	p := l.m.pool
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking != nil {
		return c.asking
	}
	over := make(chan struct{})
	c.asking = over
	limit := allowance(askLimit, l.holds)
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, limit)
		defer cancel()
		go func() { // until cancel
			select {
			case <-l.gone:
				cancel()
			case <-ctx.Done():
			}
		}()
		s, err := l.proc.Status(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil { // one that hangs is found by its heartbeats
			c.last, c.lastAt, c.ring, c.knowsRing = s, time.Now(), s.Ring, true
		}
		c.asking = nil
		close(over)
	})
	return over
}

// answer is what counted knows.
type answer struct {
	last      *control.Status
	at        time.Time
	fresh     bool
	ring      control.RingStatus
	knowsRing bool
}

// answer is the latest answer, whether it came after a time, and the latest
// counters of the ring.
func (c *counted) answer(since time.Time) (a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return answer{c.last, c.lastAt, c.last != nil && !c.lastAt.Before(since), c.ring, c.knowsRing}
}

// told is the condition of a link or device as its process has told it.
type told struct {
	condition control.Condition
	since     time.Time
	cause     *driver.Error
}

// tell takes a change of condition.
func (ln *link) tell(e control.Event) {
	now := told{e.Condition, e.Time, e.Cause}
	if e.Device == "" {
		ln.told = now
		return
	}
	if i := ln.device(e.Device); i >= 0 {
		if ln.devices == nil {
			ln.devices = make([]told, len(ln.spec.Devices))
		}
		ln.devices[i] = now
	}
}

// device is the index of a device in the desired state; -1: there is none of the name.
func (ln *link) device(name string) int {
	if ln.spec == nil {
		return -1
	}
	for i := range ln.spec.Devices {
		if ln.spec.Devices[i].Name == name {
			return i
		}
	}
	return -1
}

// want makes spec what is desired of the link; nil: it is not any more. What is known of
// devices stays with their names.
func (ln *link) want(spec *control.Link) {
	before, known := ln.spec, ln.devices
	ln.spec, ln.devices = spec, nil
	if spec == nil || known == nil {
		return
	}
	byName := make(map[string]told, len(known))
	for i := range known {
		byName[before.Devices[i].Name] = known[i]
	}
	ln.devices = make([]told, len(spec.Devices))
	for i := range spec.Devices {
		ln.devices[i] = byName[spec.Devices[i].Name]
	}
}

// give makes l the holder; nil: the link is closed everywhere. What another has reported of it
// is void.
func (ln *link) give(l *life) {
	if ln.holder == l {
		return
	}
	if ln.holder != nil {
		ln.holder.holds--
	}
	if ln.holder = l; l != nil {
		l.holds++
	}
	ln.told, ln.devices = told{}, nil
}

// overlay puts the conditions that were told since into what was answered before. Of what
// was never answered the counters are not known.
func (ln *link) overlay(s control.LinkStatus) control.LinkStatus {
	s.Name = ln.name
	if !ln.told.since.IsZero() {
		s.Condition, s.Since, s.Cause = ln.told.condition, ln.told.since, ln.told.cause
	}
	if ln.devices == nil || ln.spec == nil {
		return s
	}
	byName := make(map[string]int, len(s.Devices))
	for i := range s.Devices {
		byName[s.Devices[i].Name] = i
	}
	devices := make([]control.DeviceStatus, len(ln.spec.Devices))
	for i := range ln.spec.Devices {
		d := &devices[i]
		if at, known := byName[ln.spec.Devices[i].Name]; known {
			*d = s.Devices[at]
		}
		d.Name = ln.spec.Devices[i].Name
		if t := ln.devices[i]; !t.since.IsZero() {
			d.Condition, d.Since, d.Cause = t.condition, t.since, t.cause
		}
	}
	s.Devices = devices
	return s
}
