package engine

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	minOpen    = 10 * time.Second
	closeLimit = 5 * time.Second
	// maxWindow bounds the concurrent calls of a link that pipelines.
	maxWindow = 64
)

// A connection is whether a link is open, and when it is opened and closed next. It owns the
// session; what that is used for is the agenda's. It calls nobody; the link's lock guards it.
type connection struct {
	active  bool     // wanted open: not removed, not held, not off line
	removed bool     // for good
	checkup *checkup // has the wire, beside a session that must not begin
	session *session // nil: closed
	opening bool
	stopped *driver.Error // InvalidConfig: not opened again until the configuration changes
	backoff backoff
	silent  bool  // closed because no device answered: up only with an answer
	stopBy  int64 // when a stop no longer waits for the calls in flight
	quiet   []chan struct{}
}

// A session is the time between an open and a close.
type session struct {
	link    driver.Link
	ctx     context.Context
	cancel  context.CancelFunc
	window  int
	limits  limits
	broken  bool // to be closed
	closing bool // the close was begun
	closed  bool // the close has returned
	keeper  driver.Keeper
	asked   bool // what to keep
	keeping bool // the answer has not come
	closeBy int64
	subs    int
	lazy    bool    // it connects within a call: up only with an answer
	heard   bool    // a device has answered
	askedAt int64   // when it was first used; 0: not yet
	suspect *device // the first whose answer did not come or was wrong since the last that did
}

// newSession makes a session of what a driver has opened. A link with a gap between its
// requests takes one call at a time.
func newSession(opened driver.Link, timeout, gap time.Duration) *session {
	s := &session{link: opened, window: 1, limits: limitsOf(opened, timeout, gap)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.keeper, _ = opened.(driver.Keeper)
	if l, ok := opened.(driver.Lazy); ok {
		s.lazy = l.Lazy()
	}
	if p, ok := opened.(driver.Pipeliner); ok && gap == 0 {
		s.window = max(1, min(p.Window(), maxWindow))
	}
	return s
}

// doubts notes that a device's answer did not come, and reports whether another's did not
// just before.
func (s *session) doubts(d *device) (behind bool) {
	if s.suspect == nil {
		s.suspect = d
	}
	return s.suspect != d
}

// A connection on which nothing was ever answered is given freshFor before it is taken for
// dead, and after two in vain twice as long each time, up to longestFresh. Some adapters swallow
// everything in their first seconds: a new connection each time would never get over them.
const (
	freshFor     = 10 * time.Second
	longestFresh = time.Minute
)

// fresh reports whether silence says little of a session's connection yet.
func (c *connection) fresh(s *session, now int64) bool {
	given := min(freshFor<<min(max(c.backoff.failures-1, 0), 4), longestFresh)
	return !s.heard && now-s.askedAt < int64(given)
}

// setActive lets the link open, or has it closed.
func (c *connection) setActive(active bool, now int64) {
	c.active = active
	if active {
		c.backoff.until, c.backoff.failures = 0, 0
	} else {
		c.stopBy = now + int64(grace)
	}
}

// usable reports whether there is a session that is not to be closed.
func (c *connection) usable() bool { return c.session != nil && !c.session.broken }

// current reports whether the outcome of a call in a session still says something of the
// link: not when the session is being closed.
func (c *connection) current(s *session) bool {
	return s == c.session && c.ready()
}

// cutShort reports whether a call failed because the link was stopped.
func (c *connection) cutShort(s *session) bool {
	return !c.active && !s.broken && s.ctx.Err() != nil
}

// runners is how many there should be.
func (c *connection) runners() int {
	s := c.session
	switch {
	case s == nil && c.removed && !c.opening && c.checkup == nil:
		return 0
	case s == nil || s.broken || !c.active:
		return 1
	}
	return s.window
}

// mayOpen reports whether nothing but time keeps the link from being opened. abandoned are
// the calls that never returned.
func (c *connection) mayOpen(abandoned int) bool {
	return c.active && !c.opening && c.checkup == nil && c.stopped == nil && abandoned < maxAbandoned
}

// ready reports whether there is a session to be used, so that next has nothing to do.
func (c *connection) ready() bool {
	s := c.session
	return s != nil && c.active && !s.broken && !s.closing
}

// next says how the link is opened or closed, or until when there is nothing to do, while it
// is not ready. calls are those in flight, abandoned those that never returned.
func (c *connection) next(now int64, calls, abandoned int, timeout time.Duration) (job, int64) {
	s := c.session
	switch {
	case s == nil && !c.mayOpen(abandoned):
		return job{}, never
	case s == nil && now < c.backoff.until:
		return job{}, c.backoff.until
	case s == nil:
		c.opening = true
		return job{kind: jobOpen, limit: max(minOpen, 3*timeout)}, 0
	case s.closed && (s.subs > 0 || calls > 0) && now < s.closeBy:
		return job{}, s.closeBy
	case s.closed:
		return job{kind: jobEnd}, 0
	case s.closing:
		return job{}, never
	case s.broken, calls == 0, now >= c.stopBy:
		return c.nextClose(now, calls)
	}
	return job{}, c.stopBy
}

// nextClose closes a session. One that ends in order ends its subscriptions, and
// the driver is asked what it wants to keep, before.
func (c *connection) nextClose(now int64, calls int) (job, int64) {
	s := c.session
	if s.keeping {
		return job{}, never // its end signals, or the watchdog's
	}
	if s.keeper != nil && !s.asked && !s.broken && !c.removed && calls == 0 {
		s.cancel()
		if until := c.stopBy + int64(grace); s.subs > 0 && now < until {
			return job{}, until
		}
		s.asked, s.keeping = true, true
		return job{kind: jobKeep, limit: keepLimit}, 0
	}
	s.closing = true
	s.cancel()
	return job{kind: jobClose, limit: closeLimit}, 0
}

// closedAt notes that the close has returned.
func (s *session) closedAt(at int64) { s.closed, s.closeBy = true, at+int64(grace) }

// overdue reports whether the link should have been opened or closed before now, while it is
// not ready.
func (c *connection) overdue(now int64, abandoned int) bool {
	s := c.session
	switch {
	case s == nil:
		return c.mayOpen(abandoned) && now >= c.backoff.until
	case s.closed:
		return now >= s.closeBy
	}
	return s.broken || s.closing || now >= c.stopBy
}

// breaks has the session closed and opened again with backoff, and reports whether there was
// one to break.
func (c *connection) breaks() bool {
	if !c.usable() {
		return false
	}
	c.session.broken = true
	c.session.cancel()
	return true
}

// answered notes that a device lives, and reports whether that is news.
func (c *connection) answered() (news bool) {
	if c.session != nil {
		c.session.suspect, c.session.heard = nil, true
	}
	news = c.backoff.failures != 0 || c.silent
	c.backoff.failures, c.silent = 0, false
	return news
}

// atRest reports whether nothing is open. calls are those in flight.
func (c *connection) atRest(calls int) bool {
	return c.session == nil && !c.opening && c.checkup == nil && calls == 0
}

// rest lets those go on who wait for that.
func (c *connection) rest(calls int) {
	if c.atRest(calls) {
		for _, q := range c.quiet {
			close(q)
		}
		c.quiet = nil
	}
}

// resting is closed as soon as nothing is open.
func (c *connection) resting(calls int) <-chan struct{} {
	q := make(chan struct{})
	if c.atRest(calls) {
		close(q)
	} else {
		c.quiet = append(c.quiet, q)
	}
	return q
}
