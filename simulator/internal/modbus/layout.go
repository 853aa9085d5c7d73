package modbus

import (
	"fmt"
	"slices"
	"sort"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Table is one of the four tables of MAP 4.3.
type Table uint8

// The tables, in the order of MAP 4.3.
const (
	Discrete Table = iota
	Coil
	Input
	Holding
	tables
)

// String returns the name that config files use.
func (t Table) String() string {
	return [...]string{"discrete", "coil", "input", "holding", "?"}[min(t, tables)]
}

// Tables returns the names of the tables, each at its index.
func Tables() []string { return []string{"discrete", "coil", "input", "holding"} }

func (t Table) bits() bool { return t == Discrete || t == Coil }

// Point is something that lies in a table.
type Point struct {
	Name     string
	Table    Table
	Address  uint16
	Type     Type
	Order    Order
	Length   int // bytes of a text
	Signal   signal.Signal
	Writable bool
}

// words is the number of addresses that the point takes.
func (p *Point) words() int {
	if p.Table.bits() {
		return 1
	}
	return p.Type.words(p.Length)
}

// Range is a run of addresses, both ends included.
type Range struct{ First, Last uint16 }

// Layout is what a kind of device has at which address. It does not change and may be shared.
type Layout struct {
	points []Point // by table, then address
	tables [tables]table
	slot   int // index of the slot point, -1 without one
	byName map[string]int
}

// table is one table of a layout.
type table struct {
	ranges      []Range // sorted, apart from each other
	first, last int     // indices of its points: points[first:last]
	illegal     []uint16
	base, size  int // lowest address, and how many there are up to the highest
}

// NewLayout compiles points and the ranges that answer. A table without ranges answers from its
// first point to the end of its last. A block that touches an illegal address is answered with
// exception 2.
func NewLayout(points []Point, ranges map[Table][]Range, illegal map[Table][]uint16) (*Layout, error) {
	l := &Layout{points: slices.Clone(points), slot: -1, byName: make(map[string]int, len(points))}
	sort.SliceStable(l.points, func(i, j int) bool {
		a, b := &l.points[i], &l.points[j]
		return a.Table < b.Table || a.Table == b.Table && a.Address < b.Address
	})
	for i := range l.points {
		if err := l.index(i); err != nil {
			return nil, err
		}
	}
	for t := range tables {
		if err := l.compile(t, ranges[t], illegal[t]); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Layout) index(i int) error {
	p := &l.points[i]
	if _, double := l.byName[p.Name]; double {
		return fmt.Errorf("two points are named %q", p.Name)
	}
	l.byName[p.Name] = i
	if p.Table >= tables || p.Type >= types || p.Order >= orders {
		return fmt.Errorf("point %q: unknown table, type or order", p.Name)
	}
	if p.Type == String && (p.Length < 1 || p.Length > 2*maxReadRegisters) {
		return fmt.Errorf("point %q: a string has a length of 1 to %d bytes", p.Name, 2*maxReadRegisters)
	}
	if p.Table.bits() && p.Type != Bool {
		return fmt.Errorf("point %q: the %s table holds bool only", p.Name, p.Table)
	}
	if signal.IsSlot(p.Signal) {
		if l.slot >= 0 {
			return fmt.Errorf("point %q: the layout has another slot, %q", p.Name, l.points[l.slot].Name)
		}
		if p.Writable {
			return fmt.Errorf("point %q: a slot is not writable", p.Name)
		}
		l.slot = i
	}
	if end := int(p.Address) + p.words(); end > 1<<16 {
		return fmt.Errorf("point %q: ends after address 65535", p.Name)
	}
	if i > 0 {
		before := &l.points[i-1]
		if before.Table == p.Table && int(before.Address)+before.words() > int(p.Address) {
			return fmt.Errorf("points %q and %q overlap", before.Name, p.Name)
		}
	}
	return nil
}

func (l *Layout) compile(t Table, ranges []Range, illegal []uint16) error {
	tb := &l.tables[t]
	tb.first = sort.Search(len(l.points), func(i int) bool { return l.points[i].Table >= t })
	tb.last = sort.Search(len(l.points), func(i int) bool { return l.points[i].Table > t })
	tb.illegal = slices.Clone(illegal)
	slices.Sort(tb.illegal)
	if len(ranges) == 0 && tb.first < tb.last {
		end := &l.points[tb.last-1]
		ranges = []Range{{l.points[tb.first].Address, uint16(int(end.Address) + end.words() - 1)}}
	}
	tb.ranges = join(ranges)
	if len(tb.ranges) > 0 {
		tb.base = int(tb.ranges[0].First)
		tb.size = int(tb.ranges[len(tb.ranges)-1].Last) - tb.base + 1
	}
	for i := tb.first; i < tb.last; i++ {
		if p := &l.points[i]; !tb.covers(int(p.Address), p.words()) {
			return fmt.Errorf("point %q: %s:%d is outside of the ranges", p.Name, t, p.Address)
		}
	}
	return nil
}

// join sorts ranges and makes one of those that touch.
func join(ranges []Range) []Range {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return int(a.First) - int(b.First) })
	out := ranges[:0]
	for _, r := range ranges {
		if r.Last < r.First {
			continue
		}
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// covers reports whether every one of n addresses from start is in a range.
func (t *table) covers(start, n int) bool {
	i := sort.Search(len(t.ranges), func(i int) bool { return int(t.ranges[i].Last) >= start })
	return i < len(t.ranges) && int(t.ranges[i].First) <= start && start+n-1 <= int(t.ranges[i].Last)
}

// allows reports whether a block may be read or written at all: MAP 7.2, steps 3 of the state
// diagrams.
func (t *table) allows(start, n int) bool {
	if !t.covers(start, n) {
		return false
	}
	i, hit := slices.BinarySearch(t.illegal, uint16(start))
	return !hit && (i == len(t.illegal) || int(t.illegal[i]) >= start+n)
}

// from returns the index of the first point of the table that ends after start.
func (l *Layout) from(t Table, start int) int {
	tb := &l.tables[t]
	low, high := tb.first, tb.last
	for low < high {
		mid := (low + high) / 2
		if p := &l.points[mid]; int(p.Address)+p.words() > start {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// Find returns the index of a point by its name.
func (l *Layout) Find(name string) (int, bool) {
	i, ok := l.byName[name]
	return i, ok
}

// At returns the index of the point that begins at an address.
func (l *Layout) At(t Table, address uint16) (int, bool) {
	i := l.from(t, int(address))
	return i, i < l.tables[t].last && l.points[i].Address == address
}

// Points returns the points, sorted by table and address. They are not to be changed.
func (l *Layout) Points() []Point { return l.points }
