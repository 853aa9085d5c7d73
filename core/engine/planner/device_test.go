package planner_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/engine/planner"
)

// A device answers requests that touch no illegal address and are not larger
// than its own limit, and checks the planner's promises on every one.
type device struct {
	t       testing.TB
	spans   []planner.Span
	options planner.Options
	p       *planner.Planner
	illegal map[uint32]bool
	largest uint32
}

func newDevice(t testing.TB, spans []planner.Span, o planner.Options) *device {
	return &device{t: t, spans: spans, options: o, p: mustNew(t, spans, o), illegal: map[uint32]bool{}}
}

func (d *device) legal(s planner.Span) bool {
	for a := s.Start; a < s.End(); a++ {
		if d.illegal[a] {
			return false
		}
	}
	return d.largest == 0 || s.Count <= d.largest
}

// poll runs one poll and returns which points got a value, and the number of requests.
func (d *device) poll(now time.Time) (values []bool, asked int) {
	d.t.Helper()
	requests, probes := d.p.Poll(now)
	d.checkPlan(requests)
	values = make([]bool, len(d.spans))
	queue := append(append([]planner.Request(nil), requests...), probes...)
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		asked++
		d.checkRequest(r)
		if !d.legal(r.Span) {
			queue = append(queue, d.p.Refused(&r, now, errIllegal)...)
			continue
		}
		d.p.Answered(&r)
		for _, point := range r.Points {
			if values[point] {
				d.t.Fatalf("point %d was read twice in one poll", point)
			}
			values[point] = true
		}
	}
	return values, asked
}

func (d *device) checkRequest(r planner.Request) {
	d.t.Helper()
	limits := d.options.Limits[r.Table]
	if r.Count > limits.Max {
		d.t.Fatalf("request %v is over the limit of %d", r.Span, limits.Max)
	}
	if len(r.Points) == 0 {
		d.t.Fatalf("request %v reads no point", r.Span)
	}
	wanted := make([]bool, r.Count)
	for _, point := range r.Points {
		s := d.spans[point]
		if s.Table != r.Table || s.Start < r.Start || s.End() > r.End() {
			d.t.Fatalf("point %v lies outside of its request %v", s, r.Span)
		}
		for a := s.Start; a < s.End(); a++ {
			wanted[a-r.Start] = true
		}
	}
	gap := uint32(0)
	for i, w := range wanted {
		if gap++; w {
			gap = 0
		}
		if gap > limits.Gap {
			d.t.Fatalf("request %v has a gap of over %d at %d", r.Span, limits.Gap, i)
		}
	}
	if !wanted[0] || !wanted[len(wanted)-1] {
		d.t.Fatalf("request %v is wider than its points", r.Span)
	}
}

// checkPlan checks that every point is in exactly one request or refused, and that
// no gap holds a refused address.
func (d *device) checkPlan(requests []planner.Request) {
	d.t.Helper()
	seen := make([]int, len(d.spans))
	for _, r := range requests {
		for _, point := range r.Points {
			seen[point]++
		}
	}
	for _, refusal := range d.p.Refusals() {
		seen[refusal.Point]++
		for _, r := range requests {
			d.checkGaps(r, d.spans[refusal.Point])
		}
	}
	for i, n := range seen {
		if n != 1 {
			d.t.Fatalf("point %d (%v) is planned %d times", i, d.spans[i], n)
		}
	}
}

func (d *device) checkGaps(r planner.Request, bad planner.Span) {
	d.t.Helper()
	for a := max(r.Start, bad.Start); r.Table == bad.Table && a < min(r.End(), bad.End()); a++ {
		wanted := false
		for _, point := range r.Points {
			wanted = wanted || (d.spans[point].Start <= a && a < d.spans[point].End())
		}
		if !wanted {
			d.t.Fatalf("request %v reads across the refused %v", r.Span, bad)
		}
	}
}

// mustHave fails unless exactly the legal points have a value.
func (d *device) mustHave(values []bool, format string, args ...any) {
	d.t.Helper()
	for i, s := range d.spans {
		if values[i] != d.legal(s) {
			d.t.Fatalf("%s: point %d (%v): has a value: %v, legal: %v",
				fmt.Sprintf(format, args...), i, s, values[i], d.legal(s))
		}
	}
}

// A random device with random points: within a bounded number of polls exactly
// the legal points have values, and the plan stands still.
func FuzzPlanner(f *testing.F) {
	f.Add(uint64(1), uint8(100), uint8(1), uint8(8), uint8(16), uint8(0))
	f.Add(uint64(2), uint8(200), uint8(9), uint8(0), uint8(2), uint8(0))
	f.Add(uint64(3), uint8(50), uint8(3), uint8(30), uint8(0), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, n, bad, gap, budget, largest uint8) {
		random := rand.New(rand.NewPCG(seed, 7))
		limits := []planner.Limits{
			{Max: 4 + random.Uint32N(122), Gap: uint32(gap)},
			{Max: 4 + random.Uint32N(1997), Gap: uint32(gap) * 16},
		}
		spans := make([]planner.Span, n)
		for i := range spans {
			spans[i] = planner.Span{
				Table: uint8(random.IntN(2)), Start: random.Uint32N(300), Count: 1 + random.Uint32N(4),
			}
		}
		d := newDevice(t, spans, planner.Options{Limits: limits, Budget: int(budget), Retry: time.Minute})
		for range bad {
			d.illegal[random.Uint32N(310)] = true
		}
		if largest > 0 {
			d.largest = max(uint32(largest), 4)
		}
		d.settle(epoch)
		if largest == 0 { // a device's own limit does not change
			clear(d.illegal)
			for i := range 2 * len(spans) {
				d.poll(epoch.Add(time.Hour + time.Duration(i)*time.Second))
			}
			d.settle(epoch.Add(2 * time.Hour))
		}
	})
}

// settle polls until the plan stands still.
func (d *device) settle(now time.Time) {
	d.t.Helper()
	for range 20*len(d.spans) + 20 {
		version := d.p.Version()
		values, asked := d.poll(now)
		if d.p.Version() != version {
			continue
		}
		requests, _ := d.p.Poll(now)
		if asked != len(requests) {
			continue // a bisection goes on
		}
		d.mustHave(values, "settled")
		return
	}
	d.t.Fatalf("the plan does not settle: %d refusals", len(d.p.Refusals()))
}
