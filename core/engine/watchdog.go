package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	watchEvery = 500 * time.Millisecond
	// grace is how long after its deadline a driver call may still return before it
	// is abandoned.
	grace = 2 * time.Second
	// stuck is how late a due poll may be without a reason before the engine counts
	// as standing still.
	stuck = 10 * time.Second
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

// sweep looks at every link and tells whether all go on. A link whose lock is
// held for ever stops it, and with it the progress.
func (e *Engine) sweep() bool {
	alive := true
	now := e.clock.now()
	for _, l := range e.all() {
		alive = l.sweep(now) && alive
	}
	return alive
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

// sweep abandons the calls of one link that should have returned.
func (l *link) sweep(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(l.runners); i++ {
		r := l.runners[i]
		if !r.running || now < r.hangAt {
			continue
		}
		l.abandon(r)
		i = -1 // the list has changed
	}
	if l.session != nil && !l.active && now >= l.stopBy {
		l.session.cancel() // a stop waits for the calls in flight, but not for ever
	}
	return l.passing(now)
}

// passing tells whether no due poll is left alone.
func (l *link) passing(now int64) bool {
	if l.session == nil || l.session.broken || !l.active || len(l.due) == 0 {
		return true
	}
	for _, r := range l.runners {
		if r.running {
			return true
		}
	}
	return now-l.due[0].due < int64(stuck) || now < l.notBefore
}

// abandon gives a call up: the goroutine in it ends when the driver lets it, and
// another takes its place. What the call answers later is dropped.
func (l *link) abandon(r *runner) {
	r.abandoned = true
	l.abandoned++
	err := driver.Errorf(driver.Internal, "%s did not return within %v after its deadline: the driver ignores its context",
		r.job.name(), grace)
	l.log.Error("driver call abandoned", "device", r.deviceName(), "err", err)
	l.drop(r)
	l.finish(r, make([]driver.Sample, len(r.points)), err) // the call may still write to its own
	if r.session != nil && r.session == l.session {
		l.breakSession(err) // the call still holds the link
	}
	l.spawn()
}
