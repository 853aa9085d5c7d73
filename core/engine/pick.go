package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// minProbe is the shortest time in which a demoted device is given a chance.
	minProbe = 10 * time.Millisecond
	// probeMargin keeps a probe clear of the next poll.
	probeMargin = 2 * time.Millisecond
	// probePatience is how long a probe waits for half the slack.
	probePatience = time.Second
	// probeStarved is when a probe on a link without any slack is made all the same.
	probeStarved = time.Minute
	// suspectStarved is how long a device whose last answer did not come waits at
	// most on a link that always has another poll due.
	suspectStarved = 10 * time.Second
	minOpen        = 10 * time.Second
	closeLimit     = 5 * time.Second
)

// pick tells what to do next, or how long there is nothing. It is called under mu.
func (l *link) pick(now int64) (j job, until int64) {
	if l.surplus() {
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
		l.signal()
		return l.pick(now)
	case s.closing:
		return job{}, never
	case l.ahead != nil && !s.broken:
		return l.pickAhead(now), 0
	case s.broken, !l.active && (l.calls(nil) == 0 || now >= l.stopBy):
		return l.pickClose(now)
	case !l.active:
		return job{}, l.stopBy
	case now < l.notBefore:
		return job{}, l.notBefore
	}
	return l.pickCall(now)
}

// pickAhead picks the poll that the driver was promised.
func (l *link) pickAhead(now int64) job {
	g := l.ahead
	l.ahead = nil
	return job{kind: jobPoll, d: g.d, group: g, due: now, limit: readLimit(l.spec.Timeout, len(g.set.points))}
}

// surplus tells whether a runner without a call should end: another that has none
// is there, because one in a call may be held in it until the link is closed.
func (l *link) surplus() bool {
	wanted := l.wanted()
	return wanted == 0 || len(l.runners) > wanted && len(l.runners)-l.calls(nil) > 1
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
	if s.subs == 0 && l.calls(nil) == 0 {
		return true
	}
	if now < s.closeBy {
		return false
	}
	if s.subs > 0 {
		l.abandoned += s.subs
		l.log.Error("subscriptions abandoned", "err", "they did not end when the link was closed")
	}
	return true
}

// mayOpen tells whether nothing but time keeps the link from being opened.
func (l *link) mayOpen() bool {
	return l.active && !l.opening && l.trial == nil && l.stopped == nil && l.abandoned < maxAbandoned
}

func (l *link) pickOpen(now int64) (job, int64) {
	switch {
	case !l.mayOpen():
		return job{}, never
	case now < l.backoff.until:
		return job{}, l.backoff.until
	}
	l.opening = true
	if c := l.state.Condition; c == control.NotStarted || c == control.Stopped {
		l.setCondition(control.Connecting, nil)
	}
	return job{kind: jobOpen, limit: max(minOpen, 3*l.spec.Timeout)}, 0
}

// pickCall picks among the devices: write > read > preparation > scan > probe.
func (l *link) pickCall(now int64) (job, int64) {
	for q := range l.requests[:askTrial.queue()] {
		if req := l.nextRequest(q); req != nil {
			return job{kind: jobRequest, d: req.d, req: req, limit: req.limit(l.spec.Timeout)}, 0
		}
	}
	d, until := l.nextUnready(now)
	switch {
	case l.session.broken:
		return job{}, now // look again
	case d != nil:
		return job{kind: jobPrepare, d: d, limit: l.spec.Timeout}, 0
	}
	g := l.nextPoll(now)
	if g == nil || g.grid.Period == 0 {
		j, at := l.nextProbe(now)
		if t, by := l.nextTrial(now); t.kind != jobNone {
			j = t
		} else {
			at = min(at, by)
		}
		if j.kind != jobNone {
			if g != nil {
				l.due.push(g)
			}
			return j, 0
		}
		until = min(until, at)
	}
	if g != nil {
		return job{kind: jobPoll, d: g.d, group: g, due: g.due, limit: readLimit(l.spec.Timeout, len(g.set.points))}, 0
	}
	if len(l.due) > 0 {
		until = min(until, l.due[0].due)
	}
	return job{}, until
}

// readLimit bounds a Read, which may take several requests of at most timeout
// each: one for a single point, and one more for every eight points begun.
func readLimit(timeout time.Duration, points int) time.Duration {
	return timeout * time.Duration(1+(points+6)/8)
}

func (l *link) nextRequest(q int) *request {
	for i, req := range l.requests[q] {
		if req.d.prepared && !req.d.busy {
			l.requests[q] = append(l.requests[q][:i:i], l.requests[q][i+1:]...)
			return req
		}
	}
	return nil
}

// nextUnready finds a device to prepare.
func (l *link) nextUnready(now int64) (*device, int64) {
	until := int64(never)
	for i, d := range l.unready {
		switch {
		case d.after != nil && !d.after.ended: // its end signals
			if now >= d.afterBy {
				l.breakSession(driver.Errorf(driver.Internal, "the subscription of device %s did not end", d.spec.Name))
				return nil, now
			}
			until = min(until, d.afterBy)
		case d.busy: // its end looks again
		case d.health.retryAt > now:
			until = min(until, d.health.retryAt)
		default:
			l.unready = append(l.unready[:i:i], l.unready[i+1:]...)
			return d, 0
		}
	}
	return nil, until
}

// nextPoll takes the next due poll. Devices whose last answer did not come wait
// until no other has a due time behind it, so that each of their time-outs delays a
// neighbour once; but not for ever.
func (l *link) nextPoll(now int64) *group {
	g := l.nextHealthy(now)
	if len(l.suspects) == 0 {
		return g
	}
	starved := now-l.suspects[0].due > int64(suspectStarved)
	if g != nil && g.grid.Period > 0 && !starved {
		return g
	}
	if s := l.nextSuspect(); s != nil {
		if g != nil {
			l.due.push(g)
		}
		return s
	}
	return g
}

// nextHealthy takes the next due poll off the schedule, and sorts out what cannot
// or should not be made now.
func (l *link) nextHealthy(now int64) *group {
	for len(l.due) > 0 && l.due[0].due <= now {
		g := l.due.pop()
		switch d := g.d; {
		case g.off || !d.polls():
			g.queued = false
		case d.busy:
			d.waiting = append(d.waiting, g)
		case d.health.holdUntil > now:
			l.postpone(g, d.health.holdUntil)
		case g.class.Policy == control.Slow && l.e.ring.Full():
			l.e.ring.Slow(1)
			l.postpone(g, now)
		case d.health.suspect():
			l.suspects = append(l.suspects, g)
		default:
			return g
		}
	}
	return nil
}

func (l *link) nextSuspect() *group {
	for i := 0; i < len(l.suspects); i++ {
		g := l.suspects[i]
		if g.d.busy {
			continue
		}
		l.suspects = append(l.suspects[:i:i], l.suspects[i+1:]...)
		if g.d.polls() && !g.off {
			return g
		}
		g.queued = false
		i--
	}
	return nil
}

// postpone leaves polls out, up to a time.
func (l *link) postpone(g *group, t int64) {
	g.due = g.grid.After(t)
	if g.grid.Period == 0 {
		g.due = t + int64(maxLinger)
	}
	l.due.push(g)
}

// nextProbe finds a demoted device to ask for one point.
func (l *link) nextProbe(now int64) (job, int64) {
	until := int64(never)
	for _, d := range l.down {
		if d.busy || !d.prepared {
			continue
		}
		if d.health.probeAt > now {
			until = min(until, d.health.probeAt)
			continue
		}
		if limit := l.probeLimit(now, time.Duration(now-d.health.probeAt)); limit > 0 {
			return job{kind: jobProbe, d: d, limit: limit}, 0
		}
	}
	return job{}, until
}

// probeLimit is how long a probe may take so that it moves no neighbour's poll: it
// must end before the next one is due. It first waits for a slack of a whole
// time-out; for each second in vain it is content with half. On a link that
// pipelines it runs beside the polls. Zero: not now.
func (l *link) probeLimit(now int64, overdue time.Duration) time.Duration {
	timeout := l.spec.Timeout
	if l.calls(nil)+1 < l.session.window {
		return timeout
	}
	slack := timeout * 2
	for _, g := range l.due {
		if g.grid.Period > 0 && !g.off && g.d.polls() {
			slack = min(slack, time.Duration(g.due-now))
		}
	}
	usable := slack - max(slack/10, probeMargin) - l.spec.Gap
	need := max(timeout>>min(overdue/probePatience, 30), min(minProbe, timeout))
	switch {
	case usable >= need:
		return min(usable, timeout)
	case overdue >= probeStarved:
		return max(timeout/4, min(minProbe, timeout))
	}
	return 0
}
