// Package planner turns the addresses of register-like points into as few
// requests as the protocol allows, and learns which addresses a device refuses.
// It is pure: it knows no wire, no clock and no driver.
//
// The nouns:
//
//   - A Span is what one point occupies: a run of items of a table.
//   - A Request is what is asked at once: a run of items of a table, and the
//     points that lie in it.
//   - A gap is a run of items that no point wants. A request reads across a
//     gap, and throws the gap away, where that is cheaper than another request.
//   - A unit is a span that is different from all others. Points with the same
//     span (the bits of one register) are one unit: refused or read together.
//
// A point is never split over two requests: half a value from one moment and
// half from another is no value.
//
// A driver makes a Planner for a fixed set of points. For every poll it asks
// Poll for the requests and tells the Planner of each whether it was Answered,
// or Refused for its addresses. A refused request is bisected at once into
// smaller ones until what the device refuses is isolated to the unit, so that
// the other points keep their values. What was learned shapes the requests from
// the next poll on: the refused unit is left out, and from time to time probed.
// A device may also refuse the join and take both halves (a gap that cannot be
// read, a block boundary, a limit of its own): then the join is avoided, for as
// long as the Planner lives.
package planner

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Span is Count items of a table from Start on.
type Span struct {
	Table uint8
	Start uint32
	Count uint32
}

// End is the first item after the span.
func (s Span) End() uint32 { return s.Start + s.Count }

// Limits bound the requests of one table.
type Limits struct {
	Max uint32 // the most items in a request
	Gap uint32 // the longest gap that a request reads across
}

// Options shape a Planner.
type Options struct {
	// Limits of each table, by Span.Table.
	Limits []Limits
	// Budget is about how many extra requests isolating may cost in one poll; what
	// is not isolated by then is in the next. Zero: no bound.
	Budget int
	// Blocks are runs of items that a request shares with no other items: one that has items of
	// a block has nothing else. They must not overlap, and no span may be partly in one.
	Blocks []Block
	// Retry is how long a refused unit is left alone before it is probed again.
	// Zero: for ever.
	Retry time.Duration
}

// A Block is a run of items that are asked for apart from all others.
type Block struct {
	Span
	Max uint32 // the most items of a request in it; 0: the table's limit
}

// holds reports whether a span lies in the block, and whether it does partly.
func (b *Block) holds(s Span) (in, partly bool) {
	if s.Table != b.Table || s.End() <= b.Start || s.Start >= b.End() {
		return false, false
	}
	in = s.Start >= b.Start && s.End() <= b.End()
	return in, !in
}

// probesPerPoll bounds what probing refused units costs a poll. Together with
// the one request more that leaving a unit out of a block costs, it keeps a
// block with one refused address within three extra requests.
const probesPerPoll = 2

// A Request is one thing to ask of the device.
type Request struct {
	Span
	// Points are indexes of the spans given to New that lie in the request, in
	// order of their start. They belong to the Planner.
	Points []int32

	first, end int  // the range of units that it covers
	half       *cut // the bisection it came from, if any
	probe      bool
}

// A cut is a place where a refused request was halved.
type cut struct {
	at   int // the first unit of the right half
	open int // requests for the halves that are not answered
}

// A Refusal is a point that the device refuses, and what it said.
type Refusal struct {
	Point int32
	Cause error
}

// A unit is a span and the points that have it: order[first:end].
type unit struct {
	Span
	first, end int32
}

// illegal is what is known of a unit that the device refuses.
type illegal struct {
	cause error
	retry time.Time
}

// A Planner holds the plan for a fixed set of points and what was learned of
// them. It must not be used concurrently.
type Planner struct {
	options Options
	order   []int32 // points by span
	units   []unit
	version uint64

	bad  map[int]*illegal // units that the device refuses
	hard map[int]bool     // units that no request may join to the one before
	soft map[int]bool     // the same, while bisecting goes on in the next poll

	stale    bool
	requests []Request
	refusals []Refusal
	probes   []Request

	budget  int
	open    int  // requests of the plan that are not answered in this poll
	refused bool // a request was refused in this poll
}

// New makes a Planner for spans. It fails when a span is empty, has no limits,
// or is larger than its table's limit.
func New(spans []Span, o Options) (*Planner, error) {
	for i, s := range spans {
		switch {
		case int(s.Table) >= len(o.Limits):
			return nil, fmt.Errorf("span %d: there are no limits for table %d", i, s.Table)
		case s.Count == 0:
			return nil, fmt.Errorf("span %d is empty", i)
		case s.Count > math.MaxUint32-s.Start:
			return nil, fmt.Errorf("span %d: %d+%d is out of range", i, s.Start, s.Count)
		case s.Count > o.Limits[s.Table].Max:
			return nil, fmt.Errorf("span %d: %d items are more than the %d of one request", i, s.Count, o.Limits[s.Table].Max)
		}
		for b := range o.Blocks {
			in, partly := o.Blocks[b].holds(s)
			if partly {
				return nil, fmt.Errorf("span %d: %d+%d is partly in block %d", i, s.Start, s.Count, b)
			}
			if m := o.Blocks[b].Max; in && m > 0 && s.Count > m {
				return nil, fmt.Errorf("span %d: %d items are more than the %d of a request in block %d", i, s.Count, m, b)
			}
		}
	}
	order, units := unitsOf(spans)
	return &Planner{options: o, order: order, units: units, version: 1, stale: true}, nil
}

// unitsOf sorts the spans and gathers equal ones.
func unitsOf(spans []Span) (order []int32, units []unit) {
	order = make([]int32, len(spans))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compare(spans[a], spans[b]) })
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && spans[order[j]] == spans[order[i]] {
			j++
		}
		units = append(units, unit{spans[order[i]], int32(i), int32(j)})
		i = j
	}
	return order, slices.Clip(units)
}

func compare(a, b Span) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Count, b.Count))
}

// Poll starts a poll and returns its requests, and probes of refused units whose
// time has come. Both are to be asked; the slices are valid until the next call,
// and requests is the same slice, unchanged, while Version is.
func (p *Planner) Poll(now time.Time) (requests, probes []Request) {
	if len(p.soft) > 0 && !p.refused && p.open == 0 {
		// All parts were answered: what is still refused is known, the marks
		// that carried the bisection over polls have served.
		p.soft = nil
		p.change()
	}
	if p.stale {
		p.requests, p.stale = p.plan(0, len(p.units)), false
	}
	p.budget, p.open, p.refused = p.options.Budget, len(p.requests), false
	return p.requests, p.due(now)
}

// Version changes whenever the requests of the next poll may differ from those
// of the last.
func (p *Planner) Version() uint64 { return p.version }

// Refusals lists the points that are left out of the requests because the device
// refuses them. It is valid until the next call of any method.
func (p *Planner) Refusals() []Refusal {
	p.refusals = p.refusals[:0]
	if len(p.bad) == 0 {
		return nil
	}
	for i := range p.units {
		if b := p.bad[i]; b != nil {
			for _, point := range p.pointsOf(i) {
				p.refusals = append(p.refusals, Refusal{point, b.cause})
			}
		}
	}
	return p.refusals
}

func (p *Planner) change() {
	p.version++
	p.stale = true
}

// plan makes the requests for those of the units [first, end) that are not refused.
func (p *Planner) plan(first, end int) []Request {
	var points []int32
	if first < end {
		points = make([]int32, 0, p.units[end-1].end-p.units[first].first)
	}
	var requests []Request
	avoid := p.reach(first) // the end of the refused units so far in this table
	for i := first; i < end; i++ {
		u := &p.units[i]
		if i > first && p.units[i-1].Table != u.Table {
			avoid = 0
		}
		if p.bad[i] != nil {
			avoid = max(avoid, u.End())
			continue
		}
		from := len(points)
		points = append(points, p.pointsOf(i)...)
		if n := len(requests); n > 0 && p.joins(&requests[n-1], i, avoid) {
			r := &requests[n-1]
			r.Points = points[from-len(r.Points):]
			r.Count = max(r.End(), u.End()) - r.Start
			r.end = i + 1
			continue
		}
		requests = append(requests, Request{Span: u.Span, Points: points[from:], first: i, end: i + 1})
	}
	return requests
}

// reach is the end of the refused units before unit first in its table.
func (p *Planner) reach(first int) uint32 {
	var end uint32
	for i := range p.bad {
		if i < first && p.units[i].Table == p.units[first].Table {
			end = max(end, p.units[i].End())
		}
	}
	return end
}

// pointsOf lists the points of unit i.
func (p *Planner) pointsOf(i int) []int32 {
	u := &p.units[i]
	return p.order[u.first:u.end:u.end]
}

// joins reports whether unit i may go into r, the request of the units before it, when refused
// units reach up to avoid.
func (p *Planner) joins(r *Request, i int, avoid uint32) bool {
	u, limits := &p.units[i], p.options.Limits[r.Table]
	if u.Table != r.Table || p.cutIn(r.end, i) || max(r.End(), u.End())-r.Start > limits.Max {
		return false
	}
	if p.apart(r, u) {
		return false
	}
	if u.Start <= r.End() {
		return true // no gap
	}
	return u.Start-r.End() <= limits.Gap && avoid <= r.End()
}

// apart reports whether a block keeps a unit out of a request.
func (p *Planner) apart(r *Request, u *unit) bool {
	for i := range p.options.Blocks {
		b := &p.options.Blocks[i]
		mine, _ := b.holds(r.Span)
		its, _ := b.holds(u.Span)
		switch {
		case mine != its:
			return true
		case mine && b.Max > 0 && max(r.End(), u.End())-r.Start > b.Max:
			return true
		case !mine && u.Table == b.Table && r.Start < b.Start && u.Start >= b.End():
			return true // it would read the block across
		}
	}
	return false
}

// cutIn reports whether there is a cut at a unit in [from, to].
func (p *Planner) cutIn(from, to int) bool {
	for i := from; i <= to && len(p.hard)+len(p.soft) > 0; i++ {
		if p.hard[i] || p.soft[i] {
			return true
		}
	}
	return false
}
