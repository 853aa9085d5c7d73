package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// lastsEvery is how often the event of a condition that lasts is sent again while attempts
// fail.
const lastsEvery = 30 * time.Second

// conditions are those of one link and its devices, and send an event for every change. The
// link owns its condition here; each device has its own. The link's lock guards both, and is
// held during onEvent.
type conditions struct {
	clock   *clock
	onEvent func(control.Event) // may be nil
	link    control.LinkStatus  // without devices
	tries   tries               // to have the link up
}

// tries counts attempts that failed in a row.
type tries struct {
	failed uint64
	sent   uint64 // of them
	sentAt int64  // on the grid
}

// due reports whether more have failed than the last event says, and that is some time ago.
func (t *tries) due(now int64) bool { return t.failed != t.sent && now-t.sentAt >= int64(lastsEvery) }

// set sets the link's.
func (c *conditions) set(condition control.Condition, cause *driver.Error) {
	same := c.link.Condition == condition && sameFault(c.link.Cause, cause)
	if same && !c.tries.due(c.clock.now()) {
		return
	}
	if !same {
		c.link.Condition, c.link.Cause, c.link.Since = condition, cause, time.Now()
	}
	c.event(control.Event{Time: c.link.Since, Condition: condition, Cause: c.link.Cause, Failures: c.tries.failed})
	c.tries.sent, c.tries.sentAt = c.tries.failed, c.clock.now()
	if condition == control.Up {
		c.tries = tries{}
	}
}

// setDevice sets a device's. One that is gone sends no event.
func (c *conditions) setDevice(d *device, condition control.Condition, cause *driver.Error) {
	if d.status.Condition == condition && (d.status.Cause == cause || sameFault(d.status.Cause, cause)) {
		if !d.gone && d.tries.due(c.clock.now()) {
			c.send(d)
		}
		return
	}
	d.status.Condition, d.status.Cause, d.status.Since = condition, cause, time.Now()
	if !d.gone {
		c.send(d)
	}
}

// demoted sets the condition of a device that was demoted before its link was drained.
func (c *conditions) demoted(d *device) {
	if d.health.demoted && !d.out() {
		c.setDevice(d, control.Down, d.health.cause)
		d.status.Since = d.health.since
	}
}

// setPushes notes whether a device sends by itself, and sends an event of it to the core,
// which cannot count what it loses of such a device.
func (c *conditions) setPushes(d *device, pushes bool) {
	if d.status.Pushes != pushes {
		d.status.Pushes = pushes
		c.send(d)
	}
}

// send sends the present condition of a device.
func (c *conditions) send(d *device) {
	s := &d.status
	c.event(control.Event{Time: s.Since, Device: s.Name, Condition: s.Condition, Cause: s.Cause, Pushes: s.Pushes, Failures: d.tries.failed})
	d.tries.sent, d.tries.sentAt = d.tries.failed, c.clock.now()
	if s.Condition == control.Up {
		d.tries = tries{}
	}
}

func (c *conditions) event(e control.Event) {
	if c.onEvent != nil {
		e.Link = c.link.Name
		c.onEvent(e)
	}
}

func sameFault(a, b *driver.Error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Text == b.Text
}
