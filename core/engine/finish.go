package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// finish settles the outcome of a driver call, under mu. It also runs for a call
// that was abandoned, with samples that nobody else has and an error. It returns
// when that was, on the grid.
func (l *link) finish(r *runner, samples []driver.Sample, err error) (at int64) {
	r.running = false
	now := time.Now()
	at = l.e.clock.at(now)
	if l.spec.Gap > 0 && r.job.kind >= jobPoll {
		l.agenda.notBefore = at + int64(l.spec.Gap)
	}
	if d := r.job.d; d != nil && r.session == l.session {
		d.busy = false
		l.agenda.release(d)
	}
	fault := l.panics.fault(err, r.deviceName())
	switch r.job.kind {
	case jobOpen:
		l.finishOpen(r, fault)
	case jobClose:
		r.session.closed = true
		r.session.closeBy = at + int64(grace)
		if fault != nil {
			l.log.Warn("link did not close well", "code", fault.Code.String(), "err", fault)
		}
	case jobKeep:
		l.finishKeep(r, fault)
	case jobPrepare:
		l.finishPrepare(r, fault, at)
	case jobPoll:
		l.finishPoll(r, samples, fault, now, at)
	case jobProbe:
		l.finishProbe(r, samples, fault, at)
	case jobRequest:
		l.finishRequest(r, samples, fault, now, at)
	}
	if !r.abandoned {
		l.e.outlet.answers.put(r.answer)
	}
	if d := r.job.d; d != nil && d.spec.Offline {
		l.tellOut()
	}
	return at
}

// current tells whether the outcome of a call still says something of the
// link: not when the session it was made in is being closed, or the device was taken
// off line.
func (l *link) current(r *runner) bool {
	return r.session == l.session && !r.session.broken && !r.session.closing && l.active &&
		(r.job.d == nil || !r.job.d.spec.Offline)
}

func (l *link) finishOpen(r *runner, fault *driver.Error) {
	l.opening = false
	l.conditions.link.Opens++
	if fault == nil && r.opened == nil {
		fault = driver.Errorf(driver.Internal, "the driver opened nothing and gave no error")
	}
	if fault != nil {
		l.openFailed(fault)
		return
	}
	s := &session{link: r.opened, window: 1, began: l.e.clock.now()}
	s.ctx, s.cancel = newSessionContext()
	s.keeper, _ = r.opened.(driver.Keeper)
	l.kept = nil
	if p, ok := r.opened.(driver.Pipeliner); ok && l.spec.Gap == 0 {
		s.window = max(1, min(p.Window(), maxWindow))
	}
	r.opened = nil
	l.session = s
	if !l.active {
		return
	}
	for range s.window - 1 {
		l.crew.start(&runner{l: l})
	}
	l.agenda.open(l.devices)
	if !l.silent {
		l.conditions.set(control.Up, nil)
	}
}

func (l *link) openFailed(fault *driver.Error) {
	l.conditions.link.OpenFailures++
	l.conditions.tries.failed++
	if !l.active {
		l.stoppedNow()
		return
	}
	l.log.Debug("link does not open", "code", fault.Code.String(), "err", fault)
	condition := control.Down
	if fault.Code == driver.InvalidConfig {
		condition = control.Stopped
		l.stopped = fault
	} else {
		l.backoff.fail(l.e.clock.now())
	}
	l.silent = false
	l.conditions.set(condition, fault)
	for _, d := range l.devices {
		if !d.out() {
			l.conditions.setDevice(d, condition, fault)
			l.e.outlet.bad(d, fault, nil)
		}
	}
	l.agenda.refuse(l.notConnected(fault), nil)
}

func (l *link) finishPoll(r *runner, samples []driver.Sample, fault *driver.Error, now time.Time, at int64) {
	g, d := r.job.group, r.job.d
	l.countPoll(r, fault, at)
	if r.session != l.session || l.cutShort(r, fault) { // given up: whoever has the link next makes this poll
		l.e.batcher.end(at)
		return
	}
	l.advance(g, fault, at)
	if d.gone || fault != nil && r.session.ctx.Err() != nil {
		l.e.batcher.end(at)
		return
	}
	g.refusal = allBad(samples)
	var found outcome
	r.answer, found = l.e.outlet.polled(g, r.answer, samples, !r.abandoned, fault, now)
	l.e.batcher.end(at)
	if !l.current(r) {
		g.queued = g.queued && !d.spec.Offline
		return
	}
	if found.unsupported && fault == nil {
		l.leaveOut(g, samples)
	}
	if fault == nil {
		d.health.badAt = 0
		l.answered(d, nil)
	} else {
		l.failed(r, fault, at)
	}
	switch {
	case l.agenda.ahead == g: // picked next without a due time
	case !g.off:
		l.agenda.due.push(g)
	default:
		g.queued = false
	}
}

// allBad returns the fault of the first sample where none is better than Bad.
func allBad(samples []driver.Sample) *driver.Error {
	for i := range samples {
		if samples[i].Quality != driver.Bad {
			return nil
		}
	}
	if len(samples) == 0 {
		return nil
	}
	return samples[0].Fault
}

func (l *link) countPoll(r *runner, fault *driver.Error, at int64) {
	s := &r.job.d.status
	s.Polls++
	s.LastPoll = time.Duration(at - r.began)
	s.LastLate = time.Duration(r.began - r.job.due)
	s.MaxLate = max(s.MaxLate, s.LastLate)
	if fault != nil {
		s.Failures++
	}
}

// advance sets the poll after this one: on the grid, so that a late poll does
// not shift it. Due times that passed meanwhile are counted and left out.
func (l *link) advance(g *group, fault *driver.Error, at int64) {
	was := g.due
	g.due = g.grid.After(at)
	if p := g.grid.Period; p > 0 {
		if missed := (g.due-was)/p - 1; missed > 0 {
			g.d.status.Overruns += uint64(missed)
		}
	} else if fault != nil {
		g.due = at + int64(minBackoff)
	}
}

func (l *link) finishProbe(r *runner, samples []driver.Sample, fault *driver.Error, at int64) {
	d := r.job.d
	if d.gone || !l.current(r) {
		return
	}
	if fault == nil && samples[0].Quality == driver.Bad {
		if f := samples[0].Fault; f != nil && silence(f.Code) {
			fault = f
		}
	}
	if fault == nil {
		l.answered(d, nil)
		return
	}
	l.failed(r, fault, at)
}

// silence tells whether a code means that the device gave no sensible answer.
func silence(c driver.Code) bool { return c == driver.Timeout || c == driver.Protocol }

func (l *link) finishPrepare(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	if d.gone || !l.current(r) {
		return
	}
	if fault != nil {
		l.prepareFailed(d, fault, at)
		return
	}
	p := r.prepared
	d.health.prepared()
	d.prepared = true
	d.handle = p.handle
	for i, g := range d.groups {
		g.reader = p.groups[i]
		g.off = false
	}
	switch {
	case d.handle.subscriber != nil && len(d.table.all.points) > 0:
		l.subscribe(d)
	case d.health.demoted:
		d.health.probeFrom(at)
		l.agenda.down = append(l.agenda.down, d)
	default:
		l.scan(d, at)
	}
}

// scan puts a device's groups on the schedule.
func (l *link) scan(d *device, at int64) {
	d.handle.subscriber = nil
	l.conditions.setPushes(d, false)
	if len(d.groups) == 0 {
		l.conditions.setDevice(d, control.Up, nil)
	}
	for _, g := range d.groups {
		if g.queued || g.off {
			continue
		}
		g.due = g.dueFirst(at)
		l.agenda.due.push(g)
	}
	if c := d.status.Condition; c == control.NotStarted || c == control.Stopped {
		l.conditions.setDevice(d, control.Connecting, nil)
	}
}

// prepareFailed leaves a device out, for a while or until the configuration
// changes. The link stays open for the others: Device does no I/O.
func (l *link) prepareFailed(d *device, fault *driver.Error, at int64) {
	d.tries.failed++
	l.log.Debug("device is not ready", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
	l.agenda.refuse(fault, d)
	l.e.outlet.bad(d, fault, nil)
	switch fault.Code {
	case driver.InvalidConfig, driver.Unsupported:
		d.stopped = true
		l.conditions.setDevice(d, control.Stopped, fault)
		return
	case driver.NotConnected:
		l.breakSession(fault)
		return
	}
	l.conditions.setDevice(d, control.Down, fault)
	d.health.unprepared(at)
	l.agenda.unready = append(l.agenda.unready, d)
}
