package engine

import (
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// answered notes that a device lives. cause, which may be nil, is what it refused.
func (l *link) answered(d *device, cause *driver.Error) {
	if l.session != nil {
		l.session.suspect = nil
	}
	if d.health.answered() {
		l.promote(d)
	}
	if l.backoff.failures != 0 || l.silent || l.conditions.link.Condition != control.Up {
		l.backoff.failures, l.silent = 0, false
		l.conditions.set(control.Up, nil)
	}
	if cause == nil {
		cause = d.refusal()
	}
	if cause != nil {
		l.conditions.setDevice(d, control.Degraded, cause)
	} else if d.status.Condition != control.Up {
		l.conditions.setDevice(d, control.Up, nil)
	}
}

// promote takes a demoted device back into the scan.
func (l *link) promote(d *device) {
	l.agenda.down = without(l.agenda.down, d)
	l.log.Debug("device answers again", "device", d.spec.Name)
	if d.prepared && d.handle.subscriber == nil {
		l.scan(d, l.e.clock.now())
	}
}

// failed does what the code of a call's fault says.
func (l *link) failed(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	switch fault.Code {
	case driver.NotConnected:
		if l.cuts(r) {
			l.unanswered(r, fault, at)
		}
		l.breakSession(fault)
	case driver.Timeout, driver.Protocol:
		l.unanswered(r, fault, at)
		l.checkSilent(fault)
	case driver.Busy:
		d.health.busy(at, fault.After)
		l.answered(d, fault)
	case driver.InvalidConfig:
		l.stopDevice(r, fault)
	case driver.Unsupported:
		l.answered(d, fault)
		if g := r.job.group; g != nil {
			g.off = true
		}
	case driver.NotFound, driver.BadValue, driver.Denied:
		l.answered(d, fault)
	default: // Internal, and what no driver should say
		l.log.Debug("driver fault", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
		l.unanswered(r, fault, at)
		// A demoted device with a bug in its driver must not take its neighbours'
		// link with every probe.
		if r.job.kind != jobProbe {
			l.breakSession(fault)
		}
	}
}

// cuts tells whether the connection ended in a call to a device that is to be held
// to account for it: one that cuts the connection whenever it is asked would take
// it from its neighbours for ever. Where another device's answer was wrong just
// before, it is that one's doing.
func (l *link) cuts(r *runner) bool {
	d := r.job.d
	if r.job.kind != jobPoll && r.job.kind != jobProbe || r.session.suspect != nil && r.session.suspect != d {
		return false
	}
	for _, other := range l.devices {
		if other != d && !other.health.demoted && !other.stopped && len(other.groups) > 0 {
			return true
		}
	}
	return false
}

// unanswered counts a failure, and does what follows.
func (l *link) unanswered(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	d.tries.failed++
	if r.session.suspect == nil {
		r.session.suspect = d
	}
	switch d.health.unanswered(at, d.period(), r.session.suspect != d, d.probed()) {
	case blowLasts:
		l.e.outlet.bad(d, fault, nil)
		l.conditions.setDevice(d, control.Down, fault)
		d.health.since, d.health.cause = d.status.Since, fault
	case blowDemotes:
		if d.handle.probe != nil {
			l.agenda.down = append(l.agenda.down, d)
		}
		l.log.Debug("device does not answer: it is probed from now on", "device", d.spec.Name,
			"code", fault.Code.String(), "err", fault)
		l.conditions.setDevice(d, control.Down, fault)
		d.health.since, d.health.cause = d.status.Since, fault
		l.e.outlet.bad(d, fault, r.job.group)
	default:
		l.conditions.setDevice(d, control.Degraded, fault)
	}
}

// checkSilent closes a link none of whose devices answers: the wire may be what
// is dead. Each of them was asked since it was opened.
func (l *link) checkSilent(fault *driver.Error) {
	asked := false
	for _, d := range l.devices {
		if d.stopped || len(d.groups) == 0 {
			continue
		}
		if !d.health.demoted || !d.health.lost || !d.prepared || d.handle.subscriber != nil {
			return
		}
		asked = true
	}
	if !asked {
		return
	}
	l.silent = true
	l.conditions.tries.failed++
	l.breakSession(driver.Errorf(fault.Code, "no device answers; the last one: %w", fault))
}

func (l *link) stopDevice(r *runner, fault *driver.Error) {
	d := r.job.d
	if r.job.kind == jobRequest { // says something of the request only
		l.answered(d, nil)
		return
	}
	d.stopped = true
	l.log.Debug("device is stopped until the configuration changes", "device", d.spec.Name,
		"code", fault.Code.String(), "err", fault)
	l.conditions.setDevice(d, control.Stopped, fault)
	l.e.outlet.bad(d, fault, r.job.group)
	l.agenda.refuse(fault, d)
}
