package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	minOpen    = 10 * time.Second
	closeLimit = 5 * time.Second
)

// pick tells what to do next, or how long there is nothing. It is called under mu.
func (l *link) pick(now int64) (j job, until int64) {
	if l.crew.surplus(l.wanted()) {
		return job{kind: jobExit}, 0
	}
	s := l.session
	switch {
	case s == nil:
		return l.pickOpen(now)
	case s.closed:
		if !l.orphaned(s, now) {
			return job{}, s.closeBy
		}
		l.endSession()
		l.crew.signal()
		return l.pick(now)
	case s.closing:
		return job{}, never
	case l.agenda.ahead != nil && !s.broken:
		return l.agenda.takeAhead(now, l.spec.Timeout), 0
	case s.broken, !l.active && (l.crew.calls() == 0 || now >= l.stopBy):
		return l.pickClose(now)
	case !l.active:
		return job{}, l.stopBy
	case now < l.agenda.notBefore:
		return job{}, l.agenda.notBefore
	}
	return l.pickCall(now)
}

// wanted is how many runners there should be.
func (l *link) wanted() int {
	s := l.session
	switch {
	case s == nil && l.removed && !l.opening && l.trial == nil:
		return 0
	case s == nil || s.broken || !l.active:
		return 1
	}
	return s.window
}

// orphaned tells whether nothing of a closed session runs any more, or has been
// given up.
func (l *link) orphaned(s *session, now int64) bool {
	if s.subs == 0 && l.crew.calls() == 0 {
		return true
	}
	if now < s.closeBy {
		return false
	}
	if s.subs > 0 {
		l.crew.abandoned += s.subs
		l.log.Error("subscriptions abandoned", "err", "they did not end when the link was closed")
	}
	return true
}

// mayOpen tells whether nothing but time keeps the link from being opened.
func (l *link) mayOpen() bool {
	return l.active && !l.opening && l.trial == nil && l.stopped == nil && l.crew.abandoned < maxAbandoned
}

func (l *link) pickOpen(now int64) (job, int64) {
	switch {
	case !l.mayOpen():
		return job{}, never
	case now < l.backoff.until:
		return job{}, l.backoff.until
	}
	l.opening = true
	if c := l.conditions.link.Condition; c == control.NotStarted || c == control.Stopped {
		l.conditions.set(control.Connecting, nil)
	}
	return job{kind: jobOpen, limit: max(minOpen, 3*l.spec.Timeout)}, 0
}

// pickCall picks what is next on the agenda of an open link.
func (l *link) pickCall(now int64) (job, int64) {
	l.e.ring.Slow(l.agenda.sortOut(now, l.e.ring.Full()))
	j, until := l.agenda.choose(now, terms{
		timeout: l.spec.Timeout, gap: l.spec.Gap, beside: l.crew.calls()+1 < l.session.window,
	})
	if j.kind == jobBreak {
		l.breakSession(driver.Errorf(driver.Internal, "the subscription of device %s did not end", j.d.spec.Name))
		return job{}, now // look again
	}
	l.agenda.take(j)
	return j, until
}
