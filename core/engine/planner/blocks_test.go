package planner_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/engine/planner"
)

// textOf lists requests as start+count.
func textOf(list []planner.Request) string {
	var words []string
	for _, r := range list {
		words = append(words, fmt.Sprintf("%d+%d", r.Start, r.Count))
	}
	return strings.Join(words, " ")
}

func TestBlocksAreAskedForApart(t *testing.T) {
	var spans []planner.Span
	for i := range 20 {
		spans = append(spans, planner.Span{Start: uint32(i), Count: 1})
	}
	limits := []planner.Limits{{Max: 100, Gap: 10}, {Max: 100, Gap: 10}}
	block := func(start, count, most uint32) planner.Block {
		return planner.Block{Span: planner.Span{Start: start, Count: count}, Max: most}
	}
	for _, c := range []struct {
		blocks []planner.Block
		want   string
	}{
		{nil, "0+20"},
		{[]planner.Block{block(5, 5, 0)}, "0+5 5+5 10+10"},
		{[]planner.Block{block(5, 5, 2)}, "0+5 5+2 7+2 9+1 10+10"},
		{[]planner.Block{block(8, 1<<16-8, 0)}, "0+8 8+12"},
		{[]planner.Block{block(0, 10, 0), block(10, 10, 4)}, "0+10 10+4 14+4 18+2"},
		{[]planner.Block{{Span: planner.Span{Table: 1, Start: 5, Count: 5}}}, "0+20"},
	} {
		p, err := planner.New(spans, planner.Options{Limits: limits, Blocks: c.blocks})
		if err != nil {
			t.Fatal(err)
		}
		requests, _ := p.Poll(time.Unix(0, 0))
		if diff := cmp.Diff(c.want, textOf(requests)); diff != "" {
			t.Errorf("%+v: %s", c.blocks, diff)
		}
	}
	// A block that nobody reads is not read across either.
	p, err := planner.New([]planner.Span{{Start: 0, Count: 2}, {Start: 5, Count: 2}}, planner.Options{Limits: limits, Blocks: []planner.Block{block(3, 1, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	if requests, _ := p.Poll(time.Unix(0, 0)); textOf(requests) != "0+2 5+2" {
		t.Errorf("%s reads the block across", textOf(requests))
	}
}

func TestSpansThatDoNotFitABlock(t *testing.T) {
	limits := []planner.Limits{{Max: 100}}
	for want, c := range map[string]struct {
		span  planner.Span
		block planner.Block
	}{
		"is partly in block 0":                     {planner.Span{Start: 4, Count: 2}, planner.Block{Span: planner.Span{Start: 5, Count: 5}}},
		"2 items are more than the 1 of a request": {planner.Span{Start: 5, Count: 2}, planner.Block{Span: planner.Span{Start: 5, Count: 5}, Max: 1}},
	} {
		if _, err := planner.New([]planner.Span{c.span}, planner.Options{Limits: limits, Blocks: []planner.Block{c.block}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Whatever the device refuses, no request has items of a block and others, reads one across, or is
// larger than it may be, and every point is in one request or refused.
func TestBlocksHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := []planner.Block{
			{Span: planner.Span{Start: 10, Count: 10}, Max: rapid.Uint32Range(0, 4).Draw(t, "max")}, {Span: planner.Span{Start: 30, Count: 5}},
		}
		starts := rapid.SliceOfN(rapid.Uint32Range(0, 49), 1, 40).Draw(t, "starts")
		var spans []planner.Span
		for _, at := range starts {
			spans = append(spans, planner.Span{Start: at, Count: 1})
		}
		p, err := planner.New(spans, planner.Options{Limits: []planner.Limits{{Max: 8, Gap: rapid.Uint32Range(0, 12).Draw(t, "gap")}}, Blocks: blocks})
		if err != nil {
			t.Fatal(err)
		}
		illegal := rapid.SliceOf(rapid.Uint32Range(0, 49)).Draw(t, "illegal")
		now := time.Unix(0, 0)
		for range 4 {
			queue, _ := p.Poll(now)
			seen := map[int32]bool{}
			for len(queue) > 0 {
				r := queue[0]
				queue = queue[1:]
				for _, b := range blocks {
					inside := r.Start >= b.Start && r.End() <= b.End()
					outside := r.End() <= b.Start || r.Start >= b.End()
					if !inside && !outside || inside && b.Max > 0 && r.Count > b.Max {
						t.Fatalf("%d+%d and the block %d+%d of %d", r.Start, r.Count, b.Start, b.Count, b.Max)
					}
				}
				refused := false
				for _, at := range illegal {
					refused = refused || at >= r.Start && at < r.End()
				}
				if refused {
					queue = append(queue, p.Refused(&r, now, fmt.Errorf("illegal"))...)
					continue
				}
				p.Answered(&r)
				for _, point := range r.Points {
					seen[point] = true
				}
			}
			for _, f := range p.Refusals() {
				seen[f.Point] = true
			}
			for i := range spans {
				if !seen[int32(i)] {
					t.Fatalf("point %d at %d was not asked for", i, spans[i].Start)
				}
			}
		}
	})
}
