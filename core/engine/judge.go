package engine

import (
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// judge does what the outcome of a call says, by the code of its fault; nil is an answer.
func (l *link) judge(r *runner, fault *driver.Error, at int64) {
	d, g := r.job.d, r.job.group
	if fault == nil {
		l.answered(d, nil)
		return
	}
	switch fault.Code {
	case driver.NotConnected:
		if r.session.lazy && r.session.heard && r.job.kind == jobRequest {
			return // it connects again for the next call, which shows whether it can
		}
		told := g
		if r.untold {
			told = nil
		}
		if suspect := r.session.suspect; r.job.kind != jobRequest && (suspect == nil || suspect == d) && l.roster.others(d) {
			// One that cuts the connection whenever it is asked would take it from its neighbours
			// for ever. Where another device's answer was wrong just before, it is that one's doing.
			l.roster.unanswered(d, told, fault, at, r.session.doubts(d), false)
		}
		l.lost(r.session, fault, told)
	case driver.Timeout, driver.Protocol:
		fresh := fault.Code == driver.Timeout && l.conn.fresh(r.session, at)
		l.roster.unanswered(d, g, fault, at, r.session.doubts(d), fresh)
		if l.roster.silent() { // the wire may be what is dead
			l.silent(driver.Errorf(fault.Code, "no device answers; the last one: %w", fault), fresh, g)
		}
	case driver.Busy:
		d.health.busy(at, fault.After)
		l.answered(d, fault)
	case driver.InvalidConfig:
		l.roster.stop(d, g, fault)
	case driver.Unsupported:
		l.answered(d, fault)
		if g != nil {
			g.off = true
		}
	case driver.NotFound, driver.BadValue, driver.Denied:
		l.answered(d, fault)
	default: // Internal, and what no driver should say
		l.log.Debug("driver fault", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
		l.roster.unanswered(d, g, fault, at, r.session.doubts(d), false)
		// A demoted device with a bug in its driver must not take its neighbours'
		// link with every probe.
		if r.job.kind != jobProbe {
			l.breakSession(fault, g)
		}
	}
}

// lost is a link whose wire is gone, or could not be had.
func (l *link) lost(s *session, fault *driver.Error, polled *group) {
	if !s.heard {
		l.roster.conditions.tries.failed++
		if s.lazy {
			l.roster.conditions.link.OpenFailures++
		}
	}
	l.breakSession(fault, polled)
}

// silent is a link on which no device answers: down, and opened anew, unless the connection is
// fresh.
func (l *link) silent(fault *driver.Error, fresh bool, polled *group) {
	if fresh && l.conn.silent && l.roster.conditions.link.Condition == control.Down {
		return
	}
	l.conn.silent = true
	l.roster.conditions.tries.failed++
	if fresh {
		l.roster.conditions.set(control.Down, fault)
		return
	}
	l.breakSession(fault, polled)
}
