package engine

import (
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

var errOffline = &driver.Error{Code: driver.Denied, Text: control.OfflineText}

// takeOffline leaves a device alone, or not any more, without moving any neighbour.
func (l *link) takeOffline(d *device, offline bool) {
	if d.spec.Offline == offline {
		return
	}
	d.spec.Offline = offline
	if offline {
		if d.sub != nil {
			d.sub.cancel()
		}
		l.agenda.leave(d)
		l.agenda.refuse(errOffline, d)
		l.conditions.setDevice(d, control.Stopped, errOffline)
		return
	}
	d.health.forgive()
	if !d.stopped {
		l.conditions.setDevice(d, control.NotStarted, nil)
	}
	if s := l.session; s != nil && !s.broken && !d.stopped {
		d.prepared, d.handle.subscriber = false, nil
		d.after, d.afterBy = d.sub, l.e.clock.now()+int64(grace)
		l.agenda.unready = append(l.agenda.unready, d)
		l.crew.signal()
	}
}

// stoppedNow sets the conditions of a link that has nothing open and is to stay so.
func (l *link) stoppedNow() {
	switch {
	case l.spec.Offline:
		l.setStopped(errOffline)
	case l.conditions.link.Condition != control.NotStarted: // a standby was never open
		l.setStopped(nil)
	}
	l.tellOut()
}

func (l *link) setStopped(cause *driver.Error) {
	l.conditions.set(control.Stopped, cause)
	for _, d := range l.devices {
		if d.spec.Offline {
			l.conditions.setDevice(d, control.Stopped, errOffline)
		} else {
			l.conditions.setDevice(d, control.Stopped, cause)
		}
	}
}

// tellOut gives every point of what was taken off line its one Bad sample, after
// the last call in flight. What another process has is told by that one.
func (l *link) tellOut() {
	if l.held || l.removed {
		return
	}
	atRest := l.spec.Offline && l.session == nil
	for _, d := range l.devices {
		switch {
		case !l.spec.Offline && !d.spec.Offline:
			d.told = false
		case (atRest || d.spec.Offline) && !d.busy && !d.told && (l.agenda.ahead == nil || l.agenda.ahead.d != d):
			l.e.outlet.offline(d)
		}
	}
}
