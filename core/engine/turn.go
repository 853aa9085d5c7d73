package engine

import (
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// pick chooses what to do next, or how long there is nothing. It is called under mu.
func (l *link) pick(now int64) (j job, until int64) {
	if l.crew.surplus(l.conn.runners()) {
		return job{kind: jobExit}, 0
	}
	agenda := &l.roster.agenda
	if s := l.conn.session; agenda.ahead != nil && s != nil && !s.broken && !s.closing {
		return agenda.takeAhead(now, s.limits), 0
	}
	if !l.conn.ready() {
		return l.pickForConnection(now)
	}
	if now < agenda.notBefore {
		return job{}, agenda.notBefore
	}
	l.e.ring.Slow(agenda.sortOut(now, l.e.ring.Full()))
	window := l.conn.session.window
	j, until = agenda.choose(now, terms{
		limits: l.conn.session.limits, beside: window > 1 && l.crew.calls()+1 < window,
	})
	if j.kind == jobBreak {
		l.breakSession(driver.Errorf(driver.Internal, "the subscription of device %s did not end", j.d.spec.Name), nil)
		return job{}, now // look again
	}
	agenda.take(j)
	return j, until
}

// pickForConnection opens or closes the link.
func (l *link) pickForConnection(now int64) (job, int64) {
	j, until := l.conn.next(now, l.crew.calls(), l.crew.abandoned, l.spec.Timeout)
	switch j.kind {
	case jobOpen:
		if c := l.roster.conditions.link.Condition; c == control.NotStarted || c == control.Stopped {
			l.roster.conditions.set(control.Connecting, nil)
		}
	case jobEnd:
		l.endSession()
		l.crew.signal()
		return l.pick(now)
	}
	return j, until
}

// begin registers the call that r is about to make, and gives it what it needs.
func (l *link) begin(r *runner, j job, now int64) {
	r.reset(j, l.conn.session, now)
	if s := l.conn.session; s != nil && s.askedAt == 0 && j.kind >= jobPoll {
		s.askedAt = now
	}
	l.crew.turns.Add(1)
	if j.d != nil {
		j.d.busy = true
	}
	switch j.kind {
	case jobOpen:
		r.kept = l.custody.kept
	case jobPoll:
		r.reader, r.points = j.group.reader, j.group.set.points
		l.e.batcher.begin()
	case jobProbe:
		r.reader, r.points = j.d.handle.probe, j.d.table.all.points[:1]
	case jobRequest:
		r.handle = j.d.handle
		if j.req.kind == askRead {
			r.points = j.req.points
		}
	}
	if r.points != nil {
		r.answer = l.e.outlet.answers.get(len(r.points))
		r.samples = r.answer.samples
	}
}

// finish settles the outcome of a driver call, under mu. It also runs for a call
// that was abandoned, with samples that nobody else has and an error. It returns
// when that was, on the grid.
func (l *link) finish(r *runner, samples []driver.Sample, err error) (at int64) {
	r.running = false
	now := time.Now()
	at = l.e.clock.at(now)
	if l.spec.Gap > 0 && r.job.kind >= jobPoll {
		l.roster.agenda.notBefore = at + int64(l.spec.Gap)
	}
	if d := r.job.d; d != nil && r.session == l.conn.session {
		d.busy = false
		l.roster.agenda.release(d)
	}
	fault := l.panics.fault(err, r.deviceName())
	switch r.job.kind {
	case jobOpen:
		l.opened(r, fault)
	case jobClose:
		r.session.closedAt(at)
		if fault != nil {
			l.log.Warn("link did not close well", "code", fault.Code.String(), "err", fault)
		}
	case jobKeep:
		r.session.keeping = false
		if fault = l.custody.keep(r.kept, fault); fault != nil {
			l.log.Warn("the driver keeps nothing of the link", "code", fault.Code.String(), "err", fault)
		}
	case jobPrepare:
		l.prepared(r, fault, at)
	case jobPoll:
		l.polled(r, samples, fault, now, at)
	case jobProbe:
		if !r.job.d.gone && l.current(r) {
			l.judge(r, silenceOf(samples, fault), at)
		}
	case jobRequest:
		l.requested(r, samples, fault, now, at)
	}
	if !r.abandoned {
		l.e.outlet.answers.put(r.answer)
	}
	if d := r.job.d; d != nil && d.spec.Offline {
		l.sendOffline()
	}
	return at
}

// current reports whether the outcome of a call still says something of the
// link: not when the session it was made in is being closed, or the device was taken
// off line.
func (l *link) current(r *runner) bool {
	return l.conn.current(r.session) && (r.job.d == nil || !r.job.d.spec.Offline)
}

// opened begins a session with what the driver has opened, or waits for the next attempt.
func (l *link) opened(r *runner, fault *driver.Error) {
	l.conn.opening = false
	l.roster.conditions.link.Opens++
	if fault == nil && r.opened == nil {
		fault = driver.Errorf(driver.Internal, "the driver opened nothing and gave no error")
	}
	if fault != nil {
		l.openFailed(fault)
		return
	}
	s := newSession(r.opened, l.spec.Timeout, l.spec.Gap)
	r.opened = nil
	l.custody.kept = nil
	l.conn.session = s
	if !l.conn.active {
		return
	}
	for range s.window - 1 {
		l.crew.start(&runner{l: l})
	}
	l.roster.agenda.open(l.roster.devices)
	l.conn.silent = l.conn.silent || s.lazy && l.roster.polls()
	if !l.conn.silent {
		l.roster.conditions.set(control.Up, nil)
	}
}

func (l *link) openFailed(fault *driver.Error) {
	l.roster.conditions.link.OpenFailures++
	l.roster.conditions.tries.failed++
	if !l.conn.active {
		l.roster.stopped(l.spec.Offline)
		l.sendOffline()
		return
	}
	l.log.Debug("link does not open", "code", fault.Code.String(), "err", fault)
	condition := control.Down
	if fault.Code == driver.InvalidConfig {
		condition = control.Stopped
		l.conn.stopped = fault
	} else {
		l.conn.backoff.fail(l.e.clock.now())
	}
	l.conn.silent = false
	l.roster.away(condition, fault, nil)
	l.roster.agenda.refuse(notConnected(l.name, fault), nil)
}

// breakSession has the session closed and opened again with backoff. The samples of polled,
// which may be nil, say so already.
func (l *link) breakSession(cause *driver.Error, polled *group) {
	if !l.conn.breaks() {
		return
	}
	l.roster.agenda.refuse(cause, nil)
	l.log.Debug("link is closed and will be opened again", "code", cause.Code.String(), "err", cause)
	l.roster.away(control.Down, cause, polled)
	l.conn.backoff.fail(l.e.clock.now())
}

// endSession forgets a session that was closed. Subscriptions that run on are given up.
func (l *link) endSession() {
	s := l.conn.session
	if s.subs > 0 {
		l.crew.abandoned += s.subs
		l.log.Error("subscriptions abandoned", "err", "they did not end when the link was closed")
	}
	s.cancel()
	orderly := l.custody.held && !s.broken
	if orderly {
		l.custody.restAt = l.e.clock.now()
	}
	l.roster.endSession(orderly)
	l.itself.busy, l.itself.waiting = false, nil
	l.conn.session = nil
	if !l.conn.active {
		l.roster.stopped(l.spec.Offline)
		l.sendOffline()
	}
}

func (l *link) prepared(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	switch {
	case d.gone || !l.current(r):
	case fault == nil:
		if l.roster.prepared(d, r.prepared, at) {
			subscribe(l, d)
		}
	default:
		l.roster.unprepared(d, fault, at)
		if fault.Code == driver.NotConnected {
			l.breakSession(fault, nil)
		}
	}
}

func (l *link) polled(r *runner, samples []driver.Sample, fault *driver.Error, now time.Time, at int64) {
	g, d := r.job.group, r.job.d
	d.polled(r.began, r.job.due, at, fault)
	if r.session != l.conn.session || fault != nil && l.conn.cutShort(r.session) { // whoever has the link next makes this poll
		l.e.batcher.end(at)
		return
	}
	g.advance(fault, at)
	if d.gone || fault != nil && r.session.ctx.Err() != nil {
		l.e.batcher.end(at)
		return
	}
	g.refusal = allBad(samples)
	var found outcome
	if r.untold = l.breaks(r, samples, fault); !r.untold {
		r.answer, found = l.e.outlet.polled(g, r.answer, samples, !r.abandoned, fault, now)
	}
	l.e.batcher.end(at)
	if !l.current(r) {
		g.queued = g.queued && !d.spec.Offline
		return
	}
	if fault == nil {
		if found.unsupported {
			g.leaveOut(samples)
		}
		d.health.badAt = 0
	}
	l.judge(r, fault, at)
	switch {
	case l.roster.agenda.ahead == g: // picked next without a due time
	case !g.off:
		l.roster.agenda.due.push(g)
	default:
		g.queued = false
	}
}

// breaks reports whether a poll had nothing but the end of the link, which makes every point
// Bad by itself: once for one end, however often the link is opened in vain.
func (l *link) breaks(r *runner, samples []driver.Sample, fault *driver.Error) bool {
	if fault == nil || fault.Code != driver.NotConnected || !l.current(r) {
		return false
	}
	return !slices.ContainsFunc(samples, func(s driver.Sample) bool { return s.Quality != driver.Bad || s.Fault != nil })
}

// requested answers the caller and draws the same conclusions as from a poll.
func (l *link) requested(r *runner, samples []driver.Sample, fault *driver.Error, now time.Time, at int64) {
	q, d := r.job.req, r.job.d
	if q.kind == askTrial {
		q.tried(r, fault, r.session == l.conn.session)
		return
	}
	d.requested(q, fault)
	q.of = r.candidates
	q.answer(samples, r.entries, fault, now)
	if q.kind == askDiscover {
		l.discovered(r, fault)
		return
	}
	if d.gone || !l.current(r) {
		return
	}
	switch {
	case fault == nil && !d.health.demoted && !d.health.suspect():
	case fault == nil, refuses(fault.Code) && d.health.demoted: // it refuses, so it lives
		l.answered(d, nil)
	case !refuses(fault.Code):
		l.judge(r, fault, at)
	}
}

// refuses reports whether a code says something of a request only.
func refuses(c driver.Code) bool {
	switch c {
	case driver.NotFound, driver.BadValue, driver.Denied, driver.Unsupported, driver.InvalidConfig:
		return true
	}
	return false
}

// answered notes that a device lives. cause, which may be nil, is what it refused.
func (l *link) answered(d *device, cause *driver.Error) {
	if d.health.answered() {
		l.roster.promote(d)
	}
	if news := l.conn.answered(); news || l.roster.conditions.link.Condition != control.Up {
		l.roster.conditions.set(control.Up, nil)
	}
	l.roster.answered(d, cause)
}
