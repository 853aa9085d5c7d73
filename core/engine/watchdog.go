package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
)

const (
	watchEvery = 500 * time.Millisecond
	// grace is how long after its deadline a driver call may still return before it
	// is abandoned.
	grace = 2 * time.Second
	// stuckSweeps is in how many looks in a row a thing must be found standing still
	// to count as such. It counts looks and not time, so that a process that was
	// stopped and goes on is not taken for one that stands still.
	stuckSweeps = int(10 * time.Second / watchEvery)
	// maxAbandoned bounds the goroutines that a driver can hold for ever: with
	// so many, a link is not opened again until one returns.
	maxAbandoned = 8
)

// watch abandons driver calls that do not return, and counts progress.
func (e *Engine) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if e.sweep() {
				e.progress.Add(1)
			}
		case <-e.stop:
			return
		}
	}
}

// A sighting is what the watchdog saw of one thing.
type sighting struct {
	turns  uint64
	sweeps int
}

// A linkSighting is what it saw of a link.
type linkSighting struct {
	sighting
	alone  bool // it has one runner, ...
	passed bool // ... and was passed over the last time
	wanted bool // it is to be open, ...
	spent  bool // ... and is not opened again, because so many calls never returned
}

// stuck tells whether a thing stands still: it is idle although there is something
// to do, or its lock is held, look after look, and has taken no turn between.
func (s *sighting) stuck(turns uint64, idle bool) bool {
	if !idle || turns != s.turns {
		s.turns, s.sweeps = turns, 0
		return false
	}
	s.sweeps++
	return s.sweeps >= stuckSweeps
}

// sweep looks at everything and tells whether all goes on. A driver whose calls return
// on no link any more, because all wait for one lock perhaps, does not: only another
// process helps. While one link works, the others wait for what a person does.
func (e *Engine) sweep() bool {
	now := e.clock.now()
	alive := e.batcher.alive(now)
	alive = e.ringSeen.alive(e.ring, e.batcher.flushes.Load()) && alive
	wanted, spent := 0, 0
	for _, l := range e.all() {
		alive = l.sweep(now) && alive
		if l.seen.wanted {
			wanted++
		}
		if l.seen.spent {
			spent++
		}
	}
	return alive && (wanted == 0 || spent < wanted)
}

// all gives every link, also those removed and not done yet.
func (e *Engine) all() []*link {
	e.mu.RLock()
	defer e.mu.RUnlock()
	links := make([]*link, 0, len(e.watched))
	for l := range e.watched {
		links = append(links, l)
	}
	return links
}

// sweep abandons the calls of one link that should have returned, and tells
// whether the link goes on.
func (l *link) sweep(now int64) bool {
	if l.passOver() {
		return true
	}
	if !l.mu.TryLock() {
		return !l.seen.stuck(l.crew.turns.Load(), true)
	}
	defer l.mu.Unlock()
	l.seen.alone = len(l.crew.runners) == 1
	l.seen.wanted = l.active
	l.seen.spent = l.active && l.session == nil && l.crew.abandoned >= maxAbandoned
	for r := l.crew.hanging(now); r != nil; r = l.crew.hanging(now) {
		l.abandon(r)
	}
	if l.session != nil && !l.active && now >= l.stopBy {
		l.session.cancel() // a stop waits for the calls in flight, but not for ever
	}
	return !l.seen.stuck(l.crew.turns.Load(), l.neglects(now))
}

// passOver tells whether a look at a link can wait for the next: its only runner
// has begun something since the last, and so hangs in nothing. With 1,000 links, the
// looks would cost a few hundredths of what the polls do.
func (l *link) passOver() bool {
	s := &l.seen
	if s.passed = !s.passed && s.alone && l.crew.turns.Load() != s.turns; s.passed {
		s.turns, s.sweeps = l.crew.turns.Load(), 0
	}
	return s.passed
}

// neglects tells whether there is something to do and nobody does it.
func (l *link) neglects(now int64) bool {
	if l.crew.calls() > 0 || l.waitsForOld() {
		return false
	}
	s := l.session
	switch {
	case s == nil:
		return l.mayOpen() && now >= l.backoff.until
	case s.closed:
		return now >= s.closeBy
	case !s.broken && !s.closing && !l.active && now < l.stopBy:
		return false
	case s.broken, s.closing, !l.active:
		return true
	}
	return l.agenda.overdue(now)
}

// waitsForOld tells whether the link of this name before is not done.
func (l *link) waitsForOld() bool {
	if l.after == nil {
		return false
	}
	select {
	case <-l.after:
		return false
	default:
		return true
	}
}

// alive tells whether samples go on to the ring.
func (b *batcher) alive(now int64) bool {
	if !b.mu.TryLock() {
		return !b.seen.stuck(b.flushes.Load(), true)
	}
	defer b.mu.Unlock()
	left := !b.flushing.TryLock()
	if !left {
		b.flushing.Unlock()
	}
	for _, w := range b.pend {
		left = left || !w.empty() && now-w.began > int64(time.Second)
	}
	return !b.seen.stuck(b.flushes.Load(), left)
}

// A ringSighting is what the watchdog saw of the ring.
type ringSighting struct{ lock, release sighting }

// alive reports whether the ring can be used, and no stored callback holds up the
// acknowledgements. turns are the frames that were made.
func (s *ringSighting) alive(r *replay.Ring, turns uint64) bool {
	locked, acks, releasing := r.Activity()
	locked = s.lock.stuck(turns, locked)
	return !s.release.stuck(acks, releasing) && !locked
}

// abandon gives a call up: the goroutine in it ends when the driver lets it, and
// another takes its place. What the call answers later is dropped.
func (l *link) abandon(r *runner) {
	r.abandoned = true
	l.crew.abandoned++
	err := driver.Errorf(driver.Internal, "%s did not return within %v after its deadline: the driver ignores its context",
		r.job.name(), grace)
	l.log.Error("driver call abandoned", "device", r.deviceName(), "err", err)
	l.crew.drop(r)
	l.finish(r, make([]driver.Sample, len(r.points)), err) // the call may still write to its own
	if r.session != nil && r.session == l.session {
		l.breakSession(err) // the call still holds the link
	}
	l.crew.start(&runner{l: l})
}
