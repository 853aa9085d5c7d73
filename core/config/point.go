package config

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/control"
)

// The keys of a point, and their places in a pointDef.
const (
	keyAddress = iota
	keyScan
	keyScale
	keyOffset
	keyUnit
	keyDeadband
	keyAccess
	keyMin
	keyMax
	pointKeyCount
)

var pointKeys = []string{"address", "scan", "scale", "offset", "unit", "deadband", "access", "min", "max"}

const (
	maxAddress = 4096
	maxUnit    = 32
)

// A pointDef is one point, with the node of every key that it has.
type pointDef struct {
	name  string
	count count
	chain *chain
	keys  [pointKeyCount]*node
}

// A pointSet is the points of a device. Devices whose points come from the same
// definitions share it.
type pointSet struct {
	points  []pointDef
	sources []pointSource
	outer   bool                      // the points depend on the numbers of the device or the link
	tables  map[string]*control.Table // where not outer: by linkDef.order
}

// checkPoints reports what is wrong with definitions of points, in a template or
// a device, before they are merged.
func (vs values) checkPoints(n *node) {
	for _, f := range vs.entries(n, "a map of points by name") {
		if f.value.kind != kindMap {
			vs.wrongKind(f.value, "a map with the point's keys, such as {address: \"...\"}")
			continue
		}
		vs.unknownKeys(f.value, pointKeys, nil, "")
	}
}

// A pointBuilder makes tables of points.
type pointBuilder struct {
	values
	expander *expander
	budget   *budget
	sets     map[*chain]*pointSet
	tables   tables
}

// set returns the points that maps of definitions make.
func (b *pointBuilder) set(maps *chain) *pointSet {
	if set := b.sets[maps]; set != nil {
		return set
	}
	set := &pointSet{tables: map[string]*control.Table{}}
	b.sets[maps] = set
	names := b.expander.expand(maps.values(), "points", b.budget.limits.written-b.budget.expanded)
	b.budget.expanded += len(names)
	set.points = make([]pointDef, len(names))
	set.sources = make([]pointSource, len(names))
	for i, one := range names {
		p := &set.points[i]
		p.name, p.count, p.chain = one.name, one.count, one.chain
		for c := one.chain; c != nil; c = c.under {
			for k, key := range pointKeys {
				if p.keys[k] == nil {
					p.keys[k] = c.value.get(key)
				}
			}
		}
		set.sources[i] = pointSource{place: p.chain.place, address: p.chain.place, trail: p.chain.value.trail}
		if n := p.keys[keyAddress]; n != nil {
			set.sources[i].address = n.place
		}
		set.outer = set.outer || p.outer()
	}
	return set
}

func (p *pointDef) outer() bool {
	uses := variables(0)
	for _, n := range p.keys {
		uses |= n.uses()
	}
	return uses&(useD|useL) != 0 || uses&useN != 0 && !p.count.ok
}

// wellFormed reports whether all definitions of a point are maps of known keys. A
// key that is missing from others is likely to be there, misspelt.
func (p *pointDef) wellFormed() bool {
	for c := p.chain; c != nil; c = c.under {
		if !c.value.only(pointKeys...) {
			return false
		}
	}
	return true
}

// table returns the points of one device.
func (b *pointBuilder) table(def *deviceDef, d *linkDef, s scope) *control.Table {
	set := def.points
	if most := b.budget.limits.points; !b.budget.use(&b.budget.points, len(set.points), most) {
		b.add(def.source.place, def.source.trail.String(), "makes more than %d points in all: make the ranges smaller", most)
		return nil
	}
	if t := set.tables[d.order]; t != nil && !set.outer {
		return t
	}
	if most := b.budget.limits.written; !b.budget.use(&b.budget.written, len(set.points), most) {
		b.add(def.source.place, def.source.trail.String(), "makes more than %d points that differ from device to device: "+
			"use fewer, or addresses without the device's number", most)
		return nil
	}
	t := &control.Table{Points: make([]control.Point, len(set.points))}
	for i := range set.points {
		p := &set.points[i]
		t.Points[i] = b.point(p, d, s.withPoint(p.count))
	}
	t = b.tables.share(t)
	if !set.outer {
		set.tables[d.order] = t
	}
	return t
}

// point evaluates one point. The set's own range counts for n; without one, the
// device's or the link's does.
func (b *pointBuilder) point(p *pointDef, d *linkDef, s scope) control.Point {
	k := &p.keys
	out := control.Point{Name: p.name, Readable: true}
	if k[keyAddress] == nil && p.wellFormed() {
		b.add(p.chain.place, p.chain.value.trail.String(), "has no address: add `address:` in the driver's syntax")
	}
	if n := k[keyAddress]; n != nil {
		out.Address = b.address(n, s)
	}
	if n := k[keyScan]; n != nil {
		out.Class = b.classIndex(n, d, s)
	}
	if n := k[keyUnit]; n != nil {
		if out.Unit = b.text(n, s); len(out.Unit) > maxUnit {
			b.fault(n, "the unit is longer than %d bytes: shorten it", maxUnit)
		}
	}
	if n := k[keyAccess]; n != nil {
		access := []string{"r", "w", "rw"}[b.oneOf(n, s, []string{"r", "w", "rw"})]
		out.Readable, out.Writable = strings.Contains(access, "r"), strings.Contains(access, "w")
	}
	b.numbers(k, &out, s)
	return out
}

// address takes a whole number too, because classic Modbus addresses are such.
func (b *pointBuilder) address(n *node, s scope) string {
	v, ok := b.scalar(n, s, "an address")
	switch {
	case !ok:
	case v.kind != kindText && v.kind != kindInteger:
		b.wrongKind(n, wantText)
	case strings.TrimSpace(v.text) == "":
		b.fault(n, "is empty: write an address in the driver's syntax")
	case len(v.text) > maxAddress:
		b.fault(n, "the address is longer than %d bytes: shorten it", maxAddress)
	}
	return v.text
}

func (b *pointBuilder) classIndex(n *node, d *linkDef, s scope) int {
	v, ok := b.scalar(n, s, "the name of a scan class")
	if !ok {
		return 0
	}
	i, known := d.classes[v.text]
	if known {
		return i
	}
	var names []string
	for name := range d.classes {
		names = append(names, name)
	}
	b.fault(n, "the link %s has no scan class %q%s: %s, or add it below the link's `scan:`",
		d.source.trail.key, shorten(v.text), suggest(v.text, names), use(names))
	return 0
}

// numbers evaluates the numeric keys and checks them together.
func (b *pointBuilder) numbers(k *[pointKeyCount]*node, out *control.Point, s scope) {
	for _, one := range [...]struct {
		key int
		to  **float64
	}{
		{keyScale, &out.Scale}, {keyOffset, &out.Offset}, {keyDeadband, &out.Deadband}, {keyMin, &out.Min}, {keyMax, &out.Max},
	} {
		if n := k[one.key]; n != nil {
			*one.to = b.float(n, s)
		}
	}
	switch {
	case out.Scale != nil && *out.Scale == 0:
		b.fault(k[keyScale], "is 0, which would make every value 0: use another, or remove the key")
	case out.Deadband != nil && *out.Deadband < 0:
		b.fault(k[keyDeadband], "is negative: use 0 to send every change, or more")
	case out.Min != nil && out.Max != nil && *out.Min > *out.Max:
		b.fault(k[keyMin], "min %v is above max %v: swap them", *out.Min, *out.Max)
	}
	for _, key := range []int{keyMin, keyMax} {
		if k[key] != nil && !out.Writable {
			b.fault(k[key], "%s bounds what is written, but the point is read only: add `access: rw`, or remove the key", pointKeys[key])
		}
	}
}

// tables keeps one of all tables that are equal. Its zero value is ready.
type tables struct {
	seed  maphash.Seed
	known map[uint64][]*control.Table
}

// share returns a table equal to t: t itself, or one that was there before.
func (ts *tables) share(t *control.Table) *control.Table {
	if ts.known == nil {
		ts.seed, ts.known = maphash.MakeSeed(), map[uint64][]*control.Table{}
	}
	var h maphash.Hash
	h.SetSeed(ts.seed)
	for i := range t.Points {
		maphash.WriteComparable(&h, t.Points[i].Name)
		maphash.WriteComparable(&h, t.Points[i].Address)
	}
	sum := h.Sum64()
	for _, other := range ts.known[sum] {
		if slices.EqualFunc(other.Points, t.Points, samePoint) {
			return other
		}
	}
	ts.known[sum] = append(ts.known[sum], t)
	return t
}

func samePoint(a, b control.Point) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Unit == b.Unit && a.Class == b.Class &&
		a.Readable == b.Readable && a.Writable == b.Writable &&
		sameNumber(a.Scale, b.Scale) && sameNumber(a.Offset, b.Offset) && sameNumber(a.Deadband, b.Deadband) &&
		sameNumber(a.Min, b.Min) && sameNumber(a.Max, b.Max)
}

func sameNumber(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
