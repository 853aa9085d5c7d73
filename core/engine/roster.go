package engine

import (
	"bytes"
	"log/slog"
	"slices"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A roster is the devices of one link, and what befalls them: it keeps the agenda, the
// conditions and the samples of each in step. It knows neither runners nor the connection:
// where a fault is one of the whole link, its caller sees to that. The link's lock guards
// it.
type roster struct {
	devices    []*device
	agenda     agenda
	conditions conditions
	outlet     *outlet
	clock      *clock
	log        *slog.Logger
}

// find finds a device by its name; nil: there is none.
func (t *roster) find(name string) *device {
	i := slices.IndexFunc(t.devices, func(d *device) bool { return d.spec.Name == name })
	if i < 0 {
		return nil
	}
	return t.devices[i]
}

// status is the link's with that of every device.
func (t *roster) status() control.LinkStatus {
	s := t.conditions.link
	s.Devices = make([]control.DeviceStatus, len(t.devices))
	for i, d := range t.devices {
		s.Devices[i] = d.status
	}
	return s
}

// away makes all devices Down, or Stopped, that are not left alone: the link is.
func (t *roster) away(condition control.Condition, cause *driver.Error, polled *group) {
	t.conditions.set(condition, cause)
	for _, d := range t.devices {
		if !d.out() {
			t.conditions.setDevice(d, condition, cause)
			t.outlet.bad(d, cause, polled)
		}
	}
}

// polls reports whether any device is polled.
func (t *roster) polls() bool {
	for _, d := range t.devices {
		if len(d.groups) > 0 && !d.out() {
			return true
		}
	}
	return false
}

// stopped sets the conditions of a link that has nothing open and is to stay so.
func (t *roster) stopped(offline bool) {
	var cause *driver.Error
	switch {
	case offline:
		cause = errOffline
	case t.conditions.link.Condition == control.NotStarted: // a standby was never open
		return
	}
	t.conditions.set(control.Stopped, cause)
	for _, d := range t.devices {
		if d.spec.Offline {
			t.conditions.setDevice(d, control.Stopped, errOffline)
		} else {
			t.conditions.setDevice(d, control.Stopped, cause)
		}
	}
}

// sendOffline gives every point of what was taken off line its one Bad sample, after
// the last call in flight. closed: the link has no session.
func (t *roster) sendOffline(offline, closed bool) {
	ahead := t.agenda.ahead
	for _, d := range t.devices {
		switch {
		case !offline && !d.spec.Offline:
			d.told = false
		case (offline && closed || d.spec.Offline) && !d.busy && !d.told && (ahead == nil || ahead.d != d):
			t.outlet.offline(d)
		}
	}
}

// endSession forgets what belongs to a session. orderly: whoever has the link next goes on.
func (t *roster) endSession(orderly bool) {
	for _, d := range t.devices {
		d.keepDue(orderly)
	}
	t.agenda.close()
	for _, d := range t.devices {
		d.detach()
	}
}

// restore makes what was handed over the devices' own. h may be nil.
func (t *roster) restore(h *handLink, fresh bool, gridOf func(device string, class *control.Class) control.Grid) {
	for _, d := range t.devices {
		for _, g := range d.groups {
			g.grid = gridOf(d.spec.Name, g.class)
			if !fresh {
				g.handed = 0
			}
		}
		switch {
		case h == nil:
			continue
		case h.own:
			clear(d.values.last) // another process may have sent since
		default:
			d.restore(h.device(d.spec.Name), fresh, t.clock.now(), t.outlet.ring.Gaps())
		}
		t.conditions.demoted(d)
	}
}

// handOver writes what the devices hand over.
func (t *roster) handOver() []handDevice {
	var list []handDevice
	for _, d := range t.devices {
		list = append(list, d.handOver(t.outlet.ring.Gaps()))
	}
	return list
}

// prepared takes what the driver made of a device, and puts the device where it belongs,
// unless it is to be subscribed to.
func (t *roster) prepared(d *device, p *preparation, at int64) (subscribes bool) {
	d.health.prepared()
	d.prepared = true
	d.handle = p.handle
	for i, g := range d.groups {
		g.reader = p.groups[i]
		g.off = false
	}
	switch {
	case d.handle.subscriber != nil && len(d.table.all.points) > 0:
		return true
	case d.health.demoted:
		d.health.probeFrom(at)
		t.agenda.down = append(t.agenda.down, d)
	default:
		t.scan(d, at)
	}
	return false
}

// scan puts a device's groups on the schedule.
func (t *roster) scan(d *device, at int64) {
	d.handle.subscriber = nil
	t.conditions.setPushes(d, false)
	if len(d.groups) == 0 {
		t.conditions.setDevice(d, control.Up, nil)
	}
	for _, g := range d.groups {
		if g.queued || g.off {
			continue
		}
		g.due = g.dueFirst(at)
		t.agenda.due.push(g)
	}
	if c := d.status.Condition; c == control.NotStarted || c == control.Stopped {
		t.conditions.setDevice(d, control.Connecting, nil)
	}
}

// unprepared leaves a device out, for a while or until the configuration changes. The link
// stays open for the others: Device does no I/O.
func (t *roster) unprepared(d *device, fault *driver.Error, at int64) {
	d.tries.failed++
	t.log.Debug("device is not ready", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
	t.agenda.refuse(fault, d)
	t.outlet.bad(d, fault, nil)
	switch fault.Code {
	case driver.InvalidConfig, driver.Unsupported:
		d.stopped = true
		t.conditions.setDevice(d, control.Stopped, fault)
	case driver.NotConnected: // the link is opened again
	default:
		t.conditions.setDevice(d, control.Down, fault)
		d.health.unprepared(at)
		t.agenda.unready = append(t.agenda.unready, d)
	}
}

// answered sets the condition of a device that lives. cause, which may be nil, is what it
// refused.
func (t *roster) answered(d *device, cause *driver.Error) {
	if cause == nil {
		cause = d.refusal()
	}
	if cause != nil {
		t.conditions.setDevice(d, control.Degraded, cause)
	} else if d.status.Condition != control.Up {
		t.conditions.setDevice(d, control.Up, nil)
	}
}

// promote takes a demoted device back into the scan.
func (t *roster) promote(d *device) {
	t.agenda.down = without(t.agenda.down, d)
	t.log.Debug("device answers again", "device", d.spec.Name)
	if d.prepared && d.handle.subscriber == nil {
		t.scan(d, t.clock.now())
	}
}

// unanswered counts a failure, and does what follows for the device. behind says that
// another's answer did not come just before, fresh that the connection is too young to judge
// by; g, which may be nil, has its Bad samples.
func (t *roster) unanswered(d *device, g *group, fault *driver.Error, at int64, behind, fresh bool) {
	d.tries.failed++
	switch d.health.unanswered(at, d.period(), behind, d.probed(), fresh) {
	case blowLasts:
		t.outlet.bad(d, fault, nil)
		t.conditions.setDevice(d, control.Down, fault)
		d.health.since, d.health.cause = d.status.Since, fault
	case blowDemotes:
		if d.handle.probe != nil {
			t.agenda.down = append(t.agenda.down, d)
		}
		t.log.Debug("device does not answer: it is probed from now on", "device", d.spec.Name,
			"code", fault.Code.String(), "err", fault)
		t.conditions.setDevice(d, control.Down, fault)
		d.health.since, d.health.cause = d.status.Since, fault
		t.outlet.bad(d, fault, g)
	default:
		t.conditions.setDevice(d, control.Degraded, fault)
	}
}

// others reports whether there is another device that is polled or could be.
func (t *roster) others(d *device) bool {
	for _, other := range t.devices {
		if other != d && !other.health.demoted && !other.stopped && len(other.groups) > 0 {
			return true
		}
	}
	return false
}

// silent reports whether no device answers. Each of them was asked since the link was
// opened.
func (t *roster) silent() bool {
	asked := false
	for _, d := range t.devices {
		if d.stopped || len(d.groups) == 0 {
			continue
		}
		if !d.health.demoted || !d.health.lost || !d.prepared || d.handle.subscriber != nil {
			return false
		}
		asked = true
	}
	return asked
}

// stop leaves a device alone until the configuration changes. g, which may be nil, has its
// Bad samples.
func (t *roster) stop(d *device, g *group, fault *driver.Error) {
	d.stopped = true
	t.log.Debug("device is stopped until the configuration changes", "device", d.spec.Name,
		"code", fault.Code.String(), "err", fault)
	t.conditions.setDevice(d, control.Stopped, fault)
	t.outlet.bad(d, fault, g)
	t.agenda.refuse(fault, d)
}

// setOffline leaves a device alone, or not any more, without moving any neighbour. usable:
// the link is open, so that the device is prepared anew.
func (t *roster) setOffline(d *device, offline, usable bool) {
	if d.spec.Offline == offline {
		return
	}
	d.spec.Offline = offline
	if offline {
		if d.sub != nil {
			d.sub.cancel()
		}
		t.agenda.leave(d)
		t.agenda.refuse(errOffline, d)
		t.conditions.setDevice(d, control.Stopped, errOffline)
		return
	}
	d.health.forgive()
	if !d.stopped {
		t.conditions.setDevice(d, control.NotStarted, nil)
	}
	if usable && !d.stopped {
		d.prepared, d.handle.subscriber = false, nil
		d.after, d.afterBy = d.sub, t.clock.now()+int64(grace)
		t.agenda.unready = append(t.agenda.unready, d)
	}
}

// replace makes these the link's devices, and reports whether any is another. fresh makes
// a device of its specification; usable: the link is open.
func (t *roster) replace(specs []control.Device, tables *tableCache, fresh func(control.Device, *table) *device, usable bool) (changed bool) {
	old := map[string]*device{}
	for _, d := range t.devices {
		old[d.spec.Name] = d
	}
	next := []*device{}
	for i := range specs {
		spec := &specs[i]
		compiled := tables.get(spec.Table)
		was := old[spec.Name]
		if was != nil && was.table == compiled && was.spec.FirstHandle == spec.FirstHandle && bytes.Equal(was.spec.Settings, spec.Settings) {
			delete(old, spec.Name)
			next = append(next, was)
			t.setOffline(was, spec.Offline, usable)
			continue
		}
		changed = true
		d := fresh(*spec, compiled)
		t.succeed(d, was, usable)
		next = append(next, d)
	}
	for _, d := range old {
		changed = true
		t.forget(d)
	}
	t.devices = next
	return changed
}

// succeed puts a new device in the place of was, which may be nil.
func (t *roster) succeed(d, was *device, usable bool) {
	if was != nil {
		condition := d.status
		d.status = was.status
		d.status.Condition, d.status.Cause = condition.Condition, condition.Cause
		d.after, d.afterBy = was.sub, t.clock.now()+int64(grace)
	}
	d.status.Since = t.conditions.link.Since
	if d.spec.Offline {
		d.status.Condition, d.status.Cause = control.Stopped, errOffline
	} else if usable {
		t.agenda.unready = append(t.agenda.unready, d)
	}
}

// forget takes a device out that is no longer configured as it was.
func (t *roster) forget(d *device) {
	d.gone = true
	if d.sub != nil {
		d.sub.cancel()
	}
	t.agenda.refuse(errChanged, d)
	t.agenda.leave(d)
}
