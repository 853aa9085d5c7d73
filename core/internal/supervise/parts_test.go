package supervise_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

const thousands = 3000

// plantOf is a state of n links, of which every second has a timeout.
func plantOf(revision uint64, n int, timeout time.Duration) *control.State {
	table := &control.Table{Points: []control.Point{{Name: "p"}}}
	s := &control.State{Revision: revision}
	for i := range n {
		l := control.Link{Name: fmt.Sprintf("l%04d", i), Devices: []control.Device{{Name: "m1", Table: table, FirstHandle: uint32(i + 1)}}}
		if i%2 == 0 {
			l.Timeout = timeout
		}
		s.Links = append(s.Links, l)
	}
	return s
}

func inParts(p *fakeProcess) { p.abilities = []string{"links", "parts"} }

// holds is how many links a process has, and has open.
func (p *fakeProcess) counts() (has, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, is := range p.opened {
		if is {
			open++
		}
	}
	return len(p.has), open
}

// given forgets what came before, and is how many links came since with each Apply,
// and how many were removed.
func (p *fakeProcess) given() (set, removed []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.applied {
		set = append(set, len(s.Links))
	}
	removed = p.removed
	p.applied, p.removed = nil, nil
	return set, removed
}

func sumOf(list []int) (n int) {
	for _, x := range list {
		n += x
	}
	return n
}

// Thousands of links come in steps, a change of some of them is given and nothing else,
// and a process has the links only that it may have to open.
func TestThousandsOfLinksComeInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats, r.make = true, inParts
		defer r.s.Close(false)
		r.want(supervise.Desired{State: plantOf(1, thousands, time.Second), Instances: 2, Standby: 1})
		synctest.Wait()
		var total, spares int
		for _, p := range r.all {
			has, open := p.counts()
			set, _ := p.given()
			switch {
			case has == thousands && open == 0:
				spares++
			case has != open:
				t.Errorf("process %d has %d links and opened %d", p.epoch, has, open)
			}
			if total += open; len(set) < 3 || slices.Max(set) > 1024 || slices.Max(append(p.steps, 0)) > 1024 {
				t.Errorf("process %d was given links in steps of %v and opened them by %v", p.epoch, set, p.steps)
			}
		}
		if total != thousands || spares != 1 {
			t.Fatalf("%d links are open, %d processes stand by", total, spares)
		}

		r.want(supervise.Desired{State: plantOf(2, thousands, 2*time.Second), Instances: 2, Standby: 1})
		synctest.Wait()
		for _, p := range r.all {
			has, open := p.counts()
			want := has / 2
			set, removed := p.given()
			if n := sumOf(set); n < want-60 || n > want+60 || sumOf(removed) != 0 || open != has && open != 0 {
				t.Errorf("a change of half of its %d links gave process %d %v and removed %v", has, p.epoch, set, removed)
			}
		}

		r.want(supervise.Desired{State: plantOf(3, thousands, 2*time.Second), Instances: 3, Standby: 1})
		synctest.Wait()
		r.want(supervise.Desired{State: plantOf(4, 100, 2*time.Second), Instances: 3, Standby: 1})
		synctest.Wait()
		total = 0
		for _, p := range r.all {
			has, open := p.counts()
			if total += open; has != open && (open != 0 || has != 100) {
				t.Errorf("process %d has %d links and opened %d of 100", p.epoch, has, open)
			}
		}
		if total != 100 || r.status().Restarts != 0 {
			t.Errorf("%d links of 100 are open, %d restarts", total, r.status().Restarts)
		}
	})
}

// A process that is slow and goes on is not killed, however many links there are, and says
// how many are to go.
func TestASlowProcessThatGoesOnIsNotKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats = true
		r.make = func(p *fakeProcess) {
			inParts(p)
			p.slow = func() time.Duration { return 8 * time.Second }
		}
		defer r.s.Close(false)
		began := time.Now()
		r.want(supervise.Desired{State: plantOf(1, thousands, time.Second)})
		synctest.Wait()
		before := thousands + 1
		for time.Since(began) < time.Hour {
			s := r.status()
			if s.Restarts != 0 {
				t.Fatalf("it was killed: %s", s.Cause)
			}
			pending := s.Processes[0].Pending
			if s.State == supervise.Active && pending == 0 {
				break
			}
			if s.State == supervise.Active && pending > before {
				t.Fatalf("%d links to go, after %d", pending, before)
			}
			before = max(pending, 1)
			time.Sleep(10 * time.Second)
		}
		if has, open := r.all[0].counts(); has != thousands || open != thousands || len(r.all) != 1 {
			t.Errorf("%d links, %d open, %d processes", has, open, len(r.all))
		}
	})
}

// What a process that died had is told as lost with the last of its links that another
// opens, and each of them is told since when.
func TestALossOfThousandsOfLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats, r.make = true, inParts
		defer r.s.Close(false)
		r.want(supervise.Desired{State: plantOf(1, thousands, time.Second)})
		p := <-r.starts
		a := p.attachment()
		synctest.Wait()
		a.frame(1)
		p.die("killed")
		p2 := <-r.starts
		a2 := p2.attachment()
		synctest.Wait()
		if n := len(p2.sinces()); n < 3 || slices.ContainsFunc(p2.sinces(), time.Time.IsZero) {
			t.Errorf("activations of what was lost since %v", p2.sinces())
		}
		a2.frame(1)
		synctest.Wait()
		if gaps := r.status().Gaps; gaps != 1 {
			t.Errorf("%d gaps, want 1", gaps)
		}
	})
}
