package engine

import (
	"time"

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
		l.setDevice(d, control.Stopped, errOffline)
		return
	}
	d.health.forgive()
	if !d.stopped {
		l.setDevice(d, control.NotStarted, nil)
	}
	if s := l.session; s != nil && !s.broken && !d.stopped {
		d.prepared, d.handle.subscriber = false, nil
		d.after, d.afterBy = d.sub, l.e.clock.now()+int64(grace)
		l.agenda.unready = append(l.agenda.unready, d)
		l.signal()
	}
}

// stoppedNow sets the conditions of a link that has nothing open and is to stay so.
func (l *link) stoppedNow() {
	switch {
	case l.spec.Offline:
		l.setStopped(errOffline)
	case l.state.Condition != control.NotStarted: // a standby was never open
		l.setStopped(nil)
	}
	l.tellOut()
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
			l.tellOffline(d)
		}
	}
}

func (l *link) tellOffline(d *device) {
	d.told = true
	now, gaps := time.Now(), l.e.ring.Gaps()
	d.values.forget(gaps)            // whatever the points said last, they say this now
	for i, s := range d.table.sets { // one for each group
		a := l.e.answers.get(len(s.points))
		d.count(d.values.shape(s, a.samples, errOffline, now.UnixNano(), gaps))
		l.e.batcher.add(&lot{
			first: d.spec.FirstHandle, index: s.index, samples: a.samples, at: now.UnixNano(),
			policy: l.spec.Classes[s.class].Policy,
		}, l.e.clock.at(now))
		l.e.answers.put(d.values.keepLast(d.groups[i], s, a, now.UnixNano(), true))
	}
}
