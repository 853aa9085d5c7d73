package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// candidates are n names, of which only "d1" is a device's.
func candidates(n int) []string {
	names := []string{"d1"}
	for i := range n - 1 {
		names = append(names, fmt.Sprintf("nobody%d", i))
	}
	return names
}

// walk asks every candidate, with a patience.
func walk(t *testing.T, r *rig, patience time.Duration) (found, asked int) {
	t.Helper()
	for of := 1; asked < of; asked++ {
		e, n, err := r.Discover(t.Context(), "l", driver.Candidate{Number: asked, Patience: patience})
		if err != nil {
			t.Fatalf("candidate %d: %v", asked, err)
		}
		if of = n; e != nil {
			found++
		}
	}
	return found, asked
}

// A discovery of a whole line moves no poll while its steps fit between them.
func TestDiscoveryMovesNoPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.fake.Link("l").Candidates(candidates(247)...)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		first := times(d.Polls())[0]
		began := time.Now()
		if found, asked := walk(t, r, 100*time.Millisecond); found != 1 || asked != 247 {
			t.Errorf("found %d of %d", found, asked)
		}
		took := time.Since(began)
		if worst := shifts(times(d.Polls()), first, time.Second); worst > 0 {
			t.Errorf("a poll was moved by %v", worst)
		}
		// 246 times 100 ms, nine of which fit between two polls.
		if took < 24600*time.Millisecond || took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
		if s := r.device("l", "d1"); s.Overruns > 0 || s.Failures > 0 || s.Condition != control.Up {
			t.Errorf("%+v", s)
		}
	})
}

// Where its steps are longer than what lies between two polls it goes on all the same, and each
// poll is made, at most a step later.
func TestDiscoveryOfLongSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.fake.Link("l").Candidates(candidates(20)...)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		polls, began := len(d.Polls()), time.Now()
		if found, asked := walk(t, r, time.Second); found != 1 || asked != 20 {
			t.Errorf("found %d of %d", found, asked)
		}
		took := time.Since(began)
		if took > 45*time.Second {
			t.Errorf("it took %v: more than twice its time-outs", took)
		}
		if n := len(d.Polls()) - polls; n < int(took/(2*time.Second)) {
			t.Errorf("%d polls in %v", n, took)
		}
		if s := r.device("l", "d1"); s.MaxLate > 1100*time.Millisecond {
			t.Errorf("a poll was late by %v", s.MaxLate)
		}
	})
}

// A candidate's patience is the link's time-out where it is none, or longer.
func TestPatienceOfACandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.fake.Link("l").Candidates("nobody", "d1")
		r.apply(link("l", 1, table(1)))
		for _, patience := range []time.Duration{0, -1, time.Hour, 10 * time.Millisecond} {
			if _, _, err := r.Discover(t.Context(), "l", driver.Candidate{Number: -3, Patience: patience, Within: "d1,nobody", Identify: true}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range r.fake.Link("l").Asked() {
			want := driver.Candidate{Within: "d1,nobody", Patience: time.Second, Identify: true}
			if i == 3 {
				want.Patience = 10 * time.Millisecond
			}
			if c != want {
				t.Errorf("asked for %+v, want %+v", c, want)
			}
		}
	})
}

func TestDiscoveryIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		off := link("off", 1, table(1))
		off.Offline = true
		down := link("down", 1, table(1))
		off.Devices[0].FirstHandle, down.Devices[0].FirstHandle = 5001, 6001
		r.fake.Link("down").FailOpen(errors.New("no route"))
		r.fake.Link("l").Candidates("d1")
		r.apply(link("l", 1, table(1)), off, down)
		sleep(2 * time.Second)
		for name, want := range map[string]driver.Code{"off": driver.Denied, "gone": driver.NotFound, "down": driver.NotConnected} {
			if _, _, err := r.Discover(t.Context(), name, driver.Candidate{}); driver.CodeOf(err) != want {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if _, _, err := r.Discover(t.Context(), "l", driver.Candidate{Within: "elsewhere"}); driver.CodeOf(err) != driver.BadValue {
			t.Errorf("within nothing: %v", err)
		}
		if s := r.link("l"); s.Condition != control.Up || s.Opens != 1 {
			t.Errorf("the link after that: %+v", s)
		}
	})
}

// Who gives up a step that waits takes it off; one on the wire ends by itself, and the link goes on.
func TestDiscoveryGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.fake.Link("l").Candidates(candidates(5)...)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, _, err := r.Discover(ctx, "l", driver.Candidate{Number: 1}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		polls := len(d.Polls())
		sleep(5 * time.Second)
		if n := len(d.Polls()) - polls; n < 4 {
			t.Errorf("%d polls in 5 s after it", n)
		}
		if n := len(r.fake.Link("l").Asked()); n > 1 {
			t.Errorf("%d candidates were asked", n)
		}
	})
}

// A wire that ends under a step is opened again; the next step goes on.
func TestDiscoveryMeetsTheEndOfAWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.fake.Link("l").Candidates(candidates(5)...)
		l := link("l", 1, table(1))
		l.Classes[0].Period = time.Hour // the step finds out by itself
		r.apply(l)
		sleep(2 * time.Second)
		time.AfterFunc(50*time.Millisecond, r.fake.Link("l").Break)
		if _, _, err := r.Discover(t.Context(), "l", driver.Candidate{Number: 1, Patience: 200 * time.Millisecond}); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("while the wire ends: %v", err)
		}
		if found, _, err := r.Discover(t.Context(), "l", driver.Candidate{}); err != nil || found == nil {
			t.Errorf("then: %v, %v", found, err)
		}
		if s := r.link("l"); s.Opens != 2 {
			t.Errorf("%d opens", s.Opens)
		}
	})
}
