package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// keepLimit bounds a driver's Keep.
const keepLimit = 2 * time.Second

// A custody is who has a link: this process, or another. It owns what goes from hand to
// hand of the link itself; what goes of a device is the device's. The link's lock guards it.
type custody struct {
	held   bool      // closed until Activate: another process may have it
	handed *handLink // what to begin with when it is no longer held
	shift  int64     // of the grids, see grid.shifted
	kept   []byte    // the driver's own
	restAt int64     // when it was stopped, on the grid
}

// hold leaves the link to another process, or takes it back with what that one handed
// over. taken: it was held, and is no longer; then h, which may be nil, is what to begin with,
// and fresh says that its times still hold.
func (c *custody) hold(held bool, handed *handLink, now int64) (h *handLink, taken, fresh bool) {
	if handed != nil && c.held {
		c.handed = handed
	}
	taken = c.held && !held
	c.held = held
	if !taken {
		return nil, false, false
	}
	h, c.handed = c.handed, nil
	if h != nil && !h.own {
		c.kept, c.shift = h.Kept, h.Shift
	}
	return h, true, h != nil && h.At >= now-int64(maxSwitch) && h.At <= now+int64(maxSwitch)
}

// handOver writes what the link hands over, once: a link that is drained again, or
// was never open, passes on what it has.
func (c *custody) handOver(link string, devices func() []handDevice) *handLink {
	if c.handed == nil {
		c.handed = &handLink{Name: link, At: c.restAt, Shift: c.shift, Kept: c.kept, Devices: devices(), own: true}
	}
	return c.handed
}

// keep takes what the driver keeps of the link, and returns why it takes nothing.
func (c *custody) keep(kept []byte, fault *driver.Error) *driver.Error {
	if fault == nil && len(kept) > driver.MaxKept {
		fault = driver.Errorf(driver.Internal, "%d bytes to keep are more than %d", len(kept), driver.MaxKept)
	}
	if fault == nil {
		c.kept = kept
	}
	return fault
}

// gridOf is the grid of a scan class of a device.
func (c *custody) gridOf(link, device string, class *control.Class) control.Grid {
	return control.NewGrid(class.Period, link, device, class.Name).Shifted(c.shift)
}

// maxMakeUp is how long nobody may have had a link so that the polls that fell due
// meanwhile are made at once. After longer, what counts is that not all are made
// in one moment.
const maxMakeUp = time.Second

// handOver writes what a device hands over. gaps is how many gaps were handed out.
func (d *device) handOver(gaps uint64) handDevice {
	h := handDevice{Name: d.spec.Name, First: d.spec.FirstHandle, Told: d.told}
	d.health.handOver(&h)
	for _, g := range d.groups {
		if g.handed != 0 {
			if h.Due == nil {
				h.Due = map[string]int64{}
			}
			h.Due[g.class.Name] = g.handed
		}
	}
	if d.values.gaps == gaps {
		h.Last = d.values.appendLast(nil)
	}
	return h
}

// restore makes what was handed over a device's own. h may be nil; fresh says that its times
// still hold.
func (d *device) restore(h *handDevice, fresh bool, now int64, gaps uint64) {
	clear(d.values.last)
	d.told = h != nil && h.Told && h.First == d.spec.FirstHandle
	if !fresh {
		h = nil
	}
	for _, g := range d.groups {
		g.handed = 0
		if h != nil {
			g.handed = h.Due[g.class.Name]
		}
	}
	d.health.restore(h, now, d.period(), len(d.table.all.points) > 0)
	switch {
	case h == nil:
	case h.First == d.spec.FirstHandle:
		d.values.gaps = gaps
		d.values.readLast(h.Last)
	default:
		d.health.badAt = 0 // those were other points
	}
}

// keepDue remembers when the groups are due, and how patient to be, when a session ends.
// orderly: whoever has the link next goes on from there.
func (d *device) keepDue(orderly bool) {
	d.health.patience = 0
	if orderly {
		d.health.patience = d.health.holdUntil
	}
	for _, g := range d.groups {
		g.handed = 0
		if orderly && g.queued && !g.off && g.grid.Period > 0 && !d.health.demoted && !d.out() {
			g.handed = g.due
		}
	}
}

// makeUp has polls that fell due since a time made at once, each with its own due time.
func (d *device) makeUp(since, now int64) {
	for _, g := range d.groups {
		if due := g.grid.After(now) - g.grid.Period; g.handed == 0 && g.grid.Period > 0 && !d.health.demoted && due > since {
			g.handed = due
		}
	}
}

// dueFirst is when a group is polled first: on its grid, or at the time that passed,
// or will come, while the link changed hands.
func (g *group) dueFirst(at int64) int64 {
	handed := g.handed
	g.handed = 0
	if handed == 0 || handed > at+g.grid.Period || handed < at-g.grid.Period-int64(maxSwitch) {
		return g.grid.First(at)
	}
	return handed
}
