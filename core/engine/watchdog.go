package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
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

// A watchdog abandons driver calls that do not return, and counts progress. It owns what it
// saw of the ring; what it saw of a link is the link's, of the batcher the batcher's.
type watchdog struct {
	links    func() []*link
	batcher  *batcher
	lock     sighting // of the ring's lock
	release  sighting // of its stored callbacks
	progress atomic.Uint64
	stop     chan struct{}
	ended    sync.WaitGroup
}

// start begins to watch; end must follow.
func (w *watchdog) start(links func() []*link, b *batcher) {
	w.links, w.batcher, w.stop = links, b, make(chan struct{})
	w.ended.Go(w.run)
}

func (w *watchdog) end() {
	close(w.stop)
	w.ended.Wait()
}

func (w *watchdog) run() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if w.sweep() {
				w.progress.Add(1)
			}
		case <-w.stop:
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

// stuck reports whether a thing stands still: it is idle although there is something
// to do, or its lock is held, look after look, and has taken no turn between.
func (s *sighting) stuck(turns uint64, idle bool) bool {
	if !idle || turns != s.turns {
		s.turns, s.sweeps = turns, 0
		return false
	}
	s.sweeps++
	return s.sweeps >= stuckSweeps
}

// sweep looks at everything and reports whether all goes on. A driver whose calls return
// on no link any more, because all wait for one lock perhaps, does not: only another
// process helps. While one link works, the others wait for what a person does.
func (w *watchdog) sweep() bool {
	now := w.batcher.clock.now()
	alive := w.batcher.alive(now)
	alive = w.ringAlive() && alive
	wanted, spent := 0, 0
	for _, l := range w.links() {
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

// ringAlive reports whether the ring can be used, and no stored callback holds up the
// acknowledgements.
func (w *watchdog) ringAlive() bool {
	locked, acks, releasing := w.batcher.ring.Activity()
	locked = w.lock.stuck(w.batcher.flushes.Load(), locked)
	return !w.release.stuck(acks, releasing) && !locked
}

// sweep abandons the calls of one link that should have returned, and reports
// whether the link goes on.
func (l *link) sweep(now int64) bool {
	turns := l.crew.turns.Load()
	if l.seen.passOver(turns) {
		return true
	}
	if !l.mu.TryLock() {
		return !l.seen.stuck(turns, true)
	}
	defer l.mu.Unlock()
	s := l.conn.session
	l.seen.alone = len(l.crew.runners) == 1
	l.seen.wanted = l.conn.active
	l.seen.spent = l.conn.active && s == nil && l.crew.abandoned >= maxAbandoned
	for r := l.crew.hanging(now); r != nil; r = l.crew.hanging(now) {
		l.abandon(r)
	}
	if s != nil && !l.conn.active && now >= l.conn.stopBy {
		s.cancel() // a stop waits for the calls in flight, but not for ever
	}
	var neglected bool
	switch {
	case l.crew.calls() > 0, !isClosed(l.after):
	case l.conn.ready():
		neglected = l.roster.agenda.overdue(now)
	default:
		neglected = l.conn.overdue(now, l.crew.abandoned)
	}
	return !l.seen.stuck(l.crew.turns.Load(), neglected)
}

// passOver reports whether a look at a link can wait for the next: its only runner
// has begun something since the last, and so hangs in nothing. With 1,000 links, the
// looks would cost a few hundredths of what the polls do.
func (s *linkSighting) passOver(turns uint64) bool {
	if s.passed = !s.passed && s.alone && turns != s.turns; s.passed {
		s.turns, s.sweeps = turns, 0
	}
	return s.passed
}

// isClosed reports whether a channel is closed, or nil.
func isClosed(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// alive reports whether samples go on to the ring.
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
	if r.session != nil && r.session == l.conn.session {
		l.breakSession(err, nil) // the call still holds the link
	}
	l.crew.start(&runner{l: l})
}
