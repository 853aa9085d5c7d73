package planner_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/engine/planner"
)

const holding = 0

var (
	errIllegal = errors.New("illegal data address")
	registers  = []planner.Limits{{Max: 125, Gap: 8}}
	epoch      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// run makes n spans of count items, stride apart.
func run(n int, stride, count uint32) []planner.Span {
	spans := make([]planner.Span, n)
	for i := range spans {
		spans[i] = planner.Span{Table: holding, Start: uint32(i) * stride, Count: count}
	}
	return spans
}

func mustNew(t testing.TB, spans []planner.Span, o planner.Options) *planner.Planner {
	t.Helper()
	p, err := planner.New(spans, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func spansOf(requests []planner.Request) []planner.Span {
	spans := make([]planner.Span, len(requests))
	for i, r := range requests {
		spans[i] = r.Span
	}
	return spans
}

func TestRequests(t *testing.T) {
	two := []planner.Limits{{Max: 125, Gap: 8}, {Max: 2000, Gap: 128}}
	tests := []struct {
		name   string
		spans  []planner.Span
		limits []planner.Limits
		want   []planner.Span
	}{
		{"nothing", nil, registers, []planner.Span{}},
		{"100 registers at stride 2", run(100, 2, 1), registers, []planner.Span{{0, 0, 125}, {0, 126, 73}}},
		{"130 contiguous", run(130, 1, 1), registers, []planner.Span{{0, 0, 125}, {0, 125, 5}}},
		{"a value is not split", run(63, 2, 2), registers, []planner.Span{{0, 0, 124}, {0, 124, 2}}},
		{"gap as long as allowed", []planner.Span{{0, 0, 1}, {0, 9, 1}}, registers, []planner.Span{{0, 0, 10}}},
		{"gap too long", []planner.Span{{0, 0, 1}, {0, 10, 1}}, registers, []planner.Span{{0, 0, 1}, {0, 10, 1}}},
		{"no gaps at all", run(3, 2, 1), []planner.Limits{{Max: 125}}, []planner.Span{{0, 0, 1}, {0, 2, 1}, {0, 4, 1}}},
		{"small blocks", run(10, 1, 1), []planner.Limits{{Max: 4, Gap: 8}}, []planner.Span{{0, 0, 4}, {0, 4, 4}, {0, 8, 2}}},
		{"tables apart", []planner.Span{{1, 0, 1}, {0, 0, 1}, {1, 100, 1}}, two, []planner.Span{{0, 0, 1}, {1, 0, 101}}},
		{"overlapping and equal", []planner.Span{{0, 5, 4}, {0, 5, 1}, {0, 5, 4}, {0, 7, 1}}, registers, []planner.Span{{0, 5, 4}}},
		{"the last address", []planner.Span{{0, 65535, 1}, {0, 65530, 2}}, registers, []planner.Span{{0, 65530, 6}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := mustNew(t, test.spans, planner.Options{Limits: test.limits})
			requests, probes := p.Poll(epoch)
			if diff := cmp.Diff(test.want, spansOf(requests)); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if len(probes) != 0 {
				t.Errorf("probes %v of a new plan", probes)
			}
		})
	}
}

func TestNewRejects(t *testing.T) {
	for _, span := range []planner.Span{{1, 0, 1}, {0, 0, 0}, {0, 0, 126}, {0, 1<<32 - 1, 2}} {
		if _, err := planner.New([]planner.Span{span}, planner.Options{Limits: registers}); err == nil {
			t.Errorf("%v was taken", span)
		}
	}
}

func TestOneIllegalAddress(t *testing.T) {
	for bad := range uint32(100) {
		d := newDevice(t, run(100, 1, 1), planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
		d.illegal[bad] = true
		values, asked := d.poll(epoch)
		if asked > 16 {
			t.Errorf("address %d: isolating it cost %d requests", bad, asked)
		}
		d.mustHave(values, "address %d, first poll", bad)
		values, asked = d.poll(epoch.Add(time.Second))
		if asked > 2 {
			t.Errorf("address %d: %d requests once learned", bad, asked)
		}
		d.mustHave(values, "address %d, second poll", bad)
	}
}

func TestRefusedIsProbedAndRestored(t *testing.T) {
	d := newDevice(t, run(100, 1, 1), planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
	d.illegal[42] = true
	d.poll(epoch)
	for at := time.Second; at < time.Minute; at += time.Second {
		if _, asked := d.poll(epoch.Add(at)); asked != 2 {
			t.Fatalf("after %v: %d requests, want 2", at, asked)
		}
	}
	if _, asked := d.poll(epoch.Add(time.Minute)); asked != 3 {
		t.Errorf("after a minute: %d requests, want a probe among 3", asked)
	}
	delete(d.illegal, 42)
	values, _ := d.poll(epoch.Add(2 * time.Minute))
	d.mustHave(values, "the poll with the probe that was answered")
	if values, asked := d.poll(epoch.Add(2*time.Minute + time.Second)); asked != 1 {
		t.Errorf("once legal again: %d requests, want 1", asked)
	} else {
		d.mustHave(values, "the poll after")
	}
}

// A device that was starting refused everything; when one probe is answered the
// others follow without another wait.
func TestRestoreHastensTheOthers(t *testing.T) {
	d := newDevice(t, run(10, 1, 1), planner.Options{Limits: registers, Retry: time.Minute})
	for a := range uint32(10) {
		d.illegal[a] = true
	}
	d.poll(epoch)
	clear(d.illegal)
	for i := range 6 {
		d.poll(epoch.Add(time.Minute + time.Duration(i)*time.Second))
	}
	if len(d.p.Refusals()) != 0 {
		t.Errorf("still refused: %v", d.p.Refusals())
	}
}

// The device refuses the addresses of a gap: all points are read, and the gap is
// not read across again.
func TestIllegalGap(t *testing.T) {
	spans := append(run(10, 1, 1), planner.Span{Start: 14, Count: 2}, planner.Span{Start: 16, Count: 1})
	d := newDevice(t, spans, planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
	d.illegal[12] = true
	values, _ := d.poll(epoch)
	d.mustHave(values, "first poll")
	values, asked := d.poll(epoch)
	d.mustHave(values, "second poll")
	if asked != 2 {
		t.Errorf("%d requests once learned, want 2", asked)
	}
}

// The device has a smaller limit of its own.
func TestDeviceLimit(t *testing.T) {
	d := newDevice(t, run(100, 1, 1), planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
	d.largest = 32
	for range 4 {
		values, _ := d.poll(epoch)
		d.mustHave(values, "every poll")
	}
	if _, asked := d.poll(epoch); asked > 5 {
		t.Errorf("%d requests once learned, want at most 5", asked)
	}
}

// The bits of a register are one unit: refused at the cost of one.
func TestBitsAreOneUnit(t *testing.T) {
	spans := make([]planner.Span, 16)
	for i := range spans {
		spans[i] = planner.Span{Start: 7, Count: 1}
	}
	d := newDevice(t, spans, planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
	d.illegal[7] = true
	if _, asked := d.poll(epoch); asked != 1 {
		t.Errorf("%d requests, want 1", asked)
	}
	if got := len(d.p.Refusals()); got != 16 {
		t.Errorf("%d refusals, want 16", got)
	}
}

// A poll that ends in the middle, because the device fell silent, teaches nothing wrong.
func TestPollThatEndsEarly(t *testing.T) {
	p := mustNew(t, run(100, 1, 1), planner.Options{Limits: registers, Budget: 16, Retry: time.Minute})
	requests, _ := p.Poll(epoch)
	halves := p.Refused(&requests[0], epoch, errIllegal)
	p.Answered(&halves[0])
	requests, _ = p.Poll(epoch)
	if diff := cmp.Diff([]planner.Span{{0, 0, 100}}, spansOf(requests)); diff != "" {
		t.Errorf("requests of the next poll (-want +got):\n%s", diff)
	}
}

func TestSteadyPollAllocatesNothing(t *testing.T) {
	p := mustNew(t, run(500, 1, 1), planner.Options{Limits: registers, Retry: time.Minute})
	version := p.Version()
	allocs := testing.AllocsPerRun(100, func() {
		requests, _ := p.Poll(epoch)
		for i := range requests {
			p.Answered(&requests[i])
		}
		p.Refusals()
	})
	if allocs != 0 {
		t.Errorf("%v allocations a poll", allocs)
	}
	if p.Version() != version {
		t.Errorf("version went from %d to %d", version, p.Version())
	}
}

func ExampleNew() {
	spans := []planner.Span{
		{Start: 100, Count: 2}, // a float32
		{Start: 102, Count: 1},
		{Start: 106, Count: 1},
		{Start: 900, Count: 1},
	}
	p, err := planner.New(spans, planner.Options{
		Limits: []planner.Limits{{Max: 125, Gap: 8}},
		Budget: 16,
		Retry:  time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	requests, _ := p.Poll(time.Now())
	for _, r := range requests {
		fmt.Printf("read %d from %d for points %v\n", r.Count, r.Start, r.Points)
	}
	// Output:
	// read 7 from 100 for points [0 1 2]
	// read 1 from 900 for points [3]
}
