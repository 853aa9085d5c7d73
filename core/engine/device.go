package engine

import (
	"hash/maphash"
	"reflect"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A table is a Table compiled for the engine, shared by all devices that have it.
type table struct {
	config *control.Table
	points []driver.Point
	names  map[string]int
	shapes []shape // nil: every point is plain
	banded bool
	sets   []*set // one for each class that has readable points
	all    *set   // every readable point
}

// A set is points that are read together.
type set struct {
	class  int
	points []driver.Point
	index  []uint32 // of each point in the table
}

// accessOf is the access of a point for its driver. One that may not even be read is left alone.
func accessOf(p *control.Point) driver.Access {
	switch {
	case !p.Readable:
		return driver.WriteOnly
	case !p.Writable:
		return driver.ReadOnly
	}
	return driver.ReadWrite
}

func compile(t *control.Table) *table {
	c := &table{config: t, points: make([]driver.Point, len(t.Points)), names: make(map[string]int, len(t.Points))}
	shapes := make([]shape, len(t.Points))
	byClass := map[int]*set{}
	c.all = &set{class: -1}
	for i := range t.Points {
		p := &t.Points[i]
		c.points[i] = driver.Point{Index: i, Name: p.Name, Address: p.Address, Access: accessOf(p)}
		c.names[p.Name] = i
		var plain bool
		if shapes[i], plain = newShape(p); !plain {
			c.shapes = shapes
		}
		c.banded = c.banded || shapes[i].banded
		if !p.Readable {
			continue
		}
		s := byClass[p.Class]
		if s == nil {
			s = &set{class: p.Class}
			byClass[p.Class] = s
			c.sets = append(c.sets, s)
		}
		s.add(c.points[i])
		c.all.add(c.points[i])
	}
	if len(c.sets) == 1 {
		c.all.points, c.all.index = c.sets[0].points, c.sets[0].index
	}
	return c
}

func (s *set) add(p driver.Point) {
	s.points = append(s.points, p)
	s.index = append(s.index, uint32(p.Index))
}

// tableCache finds, for tables as they are decoded anew with every state, the one
// that is already compiled.
type tableCache struct {
	seed  maphash.Seed
	seen  map[*control.Table]*table
	byKey map[uint64][]*table
}

func newTableCache(known []*table) *tableCache {
	c := &tableCache{seed: maphash.MakeSeed(), seen: map[*control.Table]*table{}, byKey: map[uint64][]*table{}}
	for _, t := range known {
		c.seen[t.config] = t
		key := c.key(t.config)
		c.byKey[key] = append(c.byKey[key], t)
	}
	return c
}

func (c *tableCache) get(t *control.Table) *table {
	if known := c.seen[t]; known != nil {
		return known
	}
	key := c.key(t)
	for _, known := range c.byKey[key] {
		if reflect.DeepEqual(known.config, t) {
			c.seen[t] = known
			return known
		}
	}
	fresh := compile(t)
	c.seen[t] = fresh
	c.byKey[key] = append(c.byKey[key], fresh)
	return fresh
}

func (c *tableCache) key(t *control.Table) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for i := range t.Points {
		_, _ = h.WriteString(t.Points[i].Name) // a hash takes everything
		_ = h.WriteByte(0)
		_, _ = h.WriteString(t.Points[i].Address)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// A device is the scheduler's side of a configured device. Its link's lock guards it.
type device struct {
	spec   control.Device
	table  *table
	groups []*group
	gone   bool // removed or replaced: what it still answers is dropped

	// Of the present session.
	prepared bool
	handle   handle
	sub      *subscription
	after    *subscription // of the device that this one replaces: it must end first ...
	afterBy  int64         // ... by then

	busy    bool // a call is in flight
	waiting []*group
	stopped bool // until the configuration changes
	health  health
	tries   tries // to have an answer

	values values
	told   bool // all its points have become Bad since it was taken off line
	status control.DeviceStatus
}

// A group is the points of one scan class of one device.
type group struct {
	d      *device
	set    *set
	class  *control.Class
	grid   control.Grid
	due    int64
	handed int64 // the next due time when the link was drained, perhaps elsewhere; 0: none
	queued bool  // on the schedule, waiting or in flight
	off    bool  // unsupported, or all its points are
	reader driver.Reader

	last    lastAnswer
	refusal *driver.Error // of the first point, where the last answer had all of them Bad
}

func newDevice(l *link, spec control.Device, t *table) *device {
	d := &device{spec: spec, table: t, values: newValues(t)}
	d.status.Name = spec.Name
	for _, s := range t.sets {
		class := &l.spec.Classes[s.class]
		d.groups = append(d.groups, &group{d: d, set: s, class: class, grid: l.custody.gridOf(l.name, spec.Name, class)})
	}
	return d
}

// out reports whether the device is left alone, until the configuration changes or until the
// operator takes it on line.
func (d *device) out() bool { return d.stopped || d.spec.Offline }

// count counts samples that were shaped, and returns what was found among them.
func (d *device) count(o outcome) outcome {
	d.status.Samples += uint64(o.sent)
	d.status.BadSamples += uint64(o.badSent)
	return o
}

// polled counts a poll.
func (d *device) polled(began, due, at int64, fault *driver.Error) {
	s := &d.status
	s.Polls++
	s.LastPoll = time.Duration(at - began)
	s.LastLate = time.Duration(began - due)
	s.MaxLate = max(s.MaxLate, s.LastLate)
	if fault != nil {
		s.Failures++
	}
}

// requested counts a write.
func (d *device) requested(q *request, fault *driver.Error) {
	if q.kind == askWrite {
		d.status.Writes++
		if fault != nil {
			d.status.WriteFailures++
		}
	}
}

// detach forgets what belongs to a session.
func (d *device) detach() {
	d.prepared, d.busy = false, false
	d.handle = handle{}
	d.sub, d.after, d.waiting = nil, nil, nil
	d.health.detach()
	for _, g := range d.groups {
		g.queued, g.reader = false, nil
	}
}

// polls reports whether the device is scanned now.
func (d *device) polls() bool {
	return d.prepared && !d.gone && !d.out() && !d.health.demoted && d.handle.subscriber == nil
}

// probed reports whether the device can be demoted: it is polled, and has a point to ask for.
func (d *device) probed() bool { return d.handle.subscriber == nil && len(d.table.all.points) > 0 }

// period is the shortest of the device's periods.
func (d *device) period() int64 {
	shortest := int64(0)
	for _, g := range d.groups {
		if shortest == 0 || g.grid.Period < shortest {
			shortest = g.grid.Period
		}
	}
	return shortest
}

// refusal is why a scan class of a device that answers has not one value.
func (d *device) refusal() *driver.Error {
	for _, g := range d.groups {
		if g.refusal != nil {
			return g.refusal
		}
	}
	return nil
}

// advance sets the poll after this one: on the grid, so that a late poll does
// not shift it. Due times that passed meanwhile are counted and left out.
func (g *group) advance(fault *driver.Error, at int64) {
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

// leaveOut takes the points that the driver called unsupported out. A
// driver that prepares its reads leaves them out itself.
func (g *group) leaveOut(samples []driver.Sample) {
	if g.d.handle.preparer != nil {
		return
	}
	kept := &set{class: g.set.class}
	for i, p := range g.set.points {
		if f := samples[i].Fault; f == nil || f.Code != driver.Unsupported {
			kept.add(p)
		}
	}
	g.set = kept
	g.off = len(kept.points) == 0
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

// silence reports whether a code means that the device gave no sensible answer.
func silence(c driver.Code) bool { return c == driver.Timeout || c == driver.Protocol }

// silenceOf is the fault of a probe: that of the call, or of a sample that says that the
// device gave no answer.
func silenceOf(samples []driver.Sample, fault *driver.Error) *driver.Error {
	if fault == nil && samples[0].Quality == driver.Bad {
		if f := samples[0].Fault; f != nil && silence(f.Code) {
			return f
		}
	}
	return fault
}

// dueHeap is groups by due time.
type dueHeap []*group

func (h *dueHeap) push(g *group) {
	g.queued = true
	*h = append(*h, g)
	a := *h
	for i := len(a) - 1; i > 0; {
		parent := (i - 1) / 2
		if a[parent].due <= a[i].due {
			return
		}
		a[parent], a[i] = a[i], a[parent]
		i = parent
	}
}

func (h *dueHeap) pop() *group {
	a := *h
	top, last := a[0], len(a)-1
	a[0], a[last] = a[last], nil
	a = a[:last]
	*h = a
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(a); child++ {
			if a[child].due < a[least].due {
				least = child
			}
		}
		if least == i {
			break
		}
		a[i], a[least] = a[least], a[i]
		i = least
	}
	return top
}

// forget takes a device's groups out.
func (h *dueHeap) forget(d *device) {
	old := *h
	*h = nil
	for _, g := range old {
		if g.d != d {
			h.push(g)
		}
	}
}
