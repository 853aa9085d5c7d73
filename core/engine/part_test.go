package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/engine"
)

// partOf is a link with handles of its own.
func partOf(n int) control.Link {
	l := link(fmt.Sprintf("l%d", n), 1, table(2))
	l.Devices[0].FirstHandle = uint32(1000 * (n + 1))
	return l
}

// A part of a state changes what it names and nothing else.
func TestApplyInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		var links []control.Link
		for n := range 5 {
			links = append(links, partOf(n))
			r.set(links[n].Name, "d1", 2)
		}
		r.apply(links[:3]...)
		sleep(5 * time.Second)
		changed := partOf(1)
		changed.Timeout = 3 * time.Second
		part := &control.State{Revision: 2, Links: []control.Link{changed, links[3], links[4]}}
		o := control.ApplyOptions{Part: true, Remove: []string{"l0", "nobody"}, Hold: []string{"l4"}}
		if faults, err := r.Apply(t.Context(), part, o); err != nil || len(faults) > 0 {
			t.Fatal(faults, err)
		}
		sleep(5 * time.Second)
		for name, opens := range map[string]int{"l0": 1, "l1": 2, "l2": 1, "l3": 1, "l4": 0} {
			if n := len(r.fake.Link(name).Opens()); n != opens {
				t.Errorf("%s was opened %d times, want %d", name, n, opens)
			}
			if open, want := r.fake.Link(name).Connected(), opens > 0 && name != "l0"; open != want {
				t.Errorf("%s is open: %v, want %v", name, open, want)
			}
		}
		s, err := r.Status(t.Context())
		if err != nil || len(s.Links) != 4 {
			t.Fatalf("%d links, %v", len(s.Links), err)
		}
		for i, want := range []string{"l1", "l2", "l3", "l4"} {
			if s.Links[i].Name != want {
				t.Errorf("link %d is %s, want %s", i, s.Links[i].Name, want)
			}
		}
		for _, q := range []struct{ first, limit, want int }{{0, 3, 3}, {3, 3, 1}, {4, 3, 0}, {9, 1, 0}, {0, 0, 4}, {1, 0, 3}} {
			page, total := r.StatusPage(q.first, q.limit)
			if len(page.Links) != q.want || total != 4 || q.want > 0 && page.Links[0].Name != s.Links[q.first].Name {
				t.Errorf("links from %d, at most %d: %d of %d", q.first, q.limit, len(page.Links), total)
			}
			if page.Ring.Samples == 0 {
				t.Error("a page without the ring")
			}
		}
		r.apply(links[0], links[2]) // a whole state again
		sleep(2 * time.Second)
		if s, err := r.Status(t.Context()); err != nil || len(s.Links) != 2 || r.fake.Link("l3").Connected() {
			t.Errorf("after a whole state: %d links, l3 is open: %v, %v", len(s.Links), r.fake.Link("l3").Connected(), err)
		}
	})
}

// What thousands of links hand over fits a message.
func TestHandOffOfManyLinksFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		const n = 300
		var links []control.Link
		handle := uint32(1)
		for i := range n {
			l := link(fmt.Sprintf("a link with a name that is not short at all %d", i), 100, table(1))
			for j := range l.Devices {
				l.Devices[j].FirstHandle = handle
				handle++
			}
			links = append(links, l)
		}
		if faults, err := r.Apply(t.Context(), &control.State{Revision: 1, Links: links}, control.ApplyOptions{Standby: true}); err != nil || len(faults) > 0 {
			t.Fatal(len(faults), err)
		}
		d, err := r.Drain(t.Context(), nil)
		if err != nil || len(d.HandOff) == 0 || len(d.HandOff) > 6<<20 {
			t.Errorf("%d bytes are handed over, %v", len(d.HandOff), err)
		}
	})
}
