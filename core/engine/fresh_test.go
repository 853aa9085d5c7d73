package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// conditions are those that the link was in, one after the other.
func (r *rig) conditions(link string) (list []control.Condition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Link == link && e.Device == "" {
			list = append(list, e.Condition)
		}
	}
	return slices.Compact(list)
}

// runs are the qualities of samples, as how many of each follow each other.
func runs(samples []driver.Sample) (list []string) {
	n := 0
	for i, s := range samples {
		n++
		if i == len(samples)-1 || samples[i+1].Quality != s.Quality {
			list = append(list, fmt.Sprintf("%d %v", n, s.Quality))
			n = 0
		}
	}
	return list
}

var errNoWay = driver.Errorf(driver.NotConnected, "nobody listens")

// TestOneBadSampleForOneBreak has a wire end and come back: each point says so once, and the
// link is down once, whether its driver connects in Open or in a call.
func TestOneBadSampleForOneBreak(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("late=", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				fake := r.fake.Link("l")
				if late {
					fake.ConnectsLate()
				}
				for i := range 2 {
					r.set("l", fmt.Sprint("d", i+1), 2)
				}
				r.apply(link("l", 2, table(2)))
				sleep(5*time.Second + 500*time.Millisecond)
				fake.FailOpen(errNoWay)
				fake.Break()
				sleep(20 * time.Second)
				if s := r.link("l"); s.Condition != control.Down || s.OpenFailures < 3 {
					t.Errorf("the link is %v after %d failures to open it", s.Condition, s.OpenFailures)
				}
				fake.FailOpen(nil)
				sleep(30 * time.Second)
				r.take(true)
				for _, handle := range []uint32{1, 2, 1001, 1002} {
					got := runs(r.of(handle))
					if len(got) != 3 || got[1] != "1 bad" {
						t.Errorf("the samples of %d are %v, want one Bad among the Good ones", handle, got)
					}
				}
				want := []control.Condition{control.Connecting, control.Up, control.Down, control.Up}
				if diff := cmp.Diff(want, r.conditions("l")); diff != "" {
					t.Errorf("the conditions of the link (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestNeverConnected: a link that connects late is up only when it has been.
func TestNeverConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.fake.Link("l").ConnectsLate()
		r.fake.Link("l").FailOpen(errNoWay)
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(30 * time.Second)
		want := []control.Condition{control.Connecting, control.Down}
		if diff := cmp.Diff(want, r.conditions("l")); diff != "" {
			t.Errorf("the conditions of the link (-want +got):\n%s", diff)
		}
		r.take(true)
		if got := runs(r.of(1)); len(got) != 1 || got[0] != "1 bad" {
			t.Errorf("the samples are %v, want one Bad", got)
		}
	})
}

// TestDeafAtFirst: what swallows everything in its first seconds is found out on the connection
// that it was asked on first.
func TestDeafAtFirst(t *testing.T) {
	for _, deaf := range []time.Duration{2 * time.Second, 5 * time.Second, 9 * time.Second} {
		t.Run(deaf.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				l := link("l", 1, table(1))
				l.Timeout, l.Classes[0].Period = 300*time.Millisecond, 500*time.Millisecond
				d := r.set("l", "d1", 1)
				d.Silence(true)
				r.apply(l)
				sleep(deaf)
				d.Silence(false)
				sleep(2 * time.Second)
				r.take(true)
				if s := r.of(1); len(s) == 0 || s[len(s)-1].Quality != driver.Good {
					t.Errorf("no Good sample %v after the start", deaf+2*time.Second)
				}
				sleep(20 * time.Second)
				if n := len(r.fake.Link("l").Opens()); n != 1 {
					t.Errorf("the link was opened %d times", n)
				}
				r.samples = nil
				if r.take(true); len(r.of(1)) < 39 {
					t.Errorf("%d samples in the 20 s that follow", len(r.of(1)))
				}
			})
		})
	}
}

// TestDeafForLong: what is deaf for longer than a first connection is given is found out on one
// of the next, each of which it is deaf on anew.
func TestDeafForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 1, table(1))
		l.Timeout = 300 * time.Millisecond
		d := r.set("l", "d1", 1)
		d.Silence(true)
		r.apply(l)
		opens, hears := 0, time.Time{}
		for range 1200 {
			sleep(100 * time.Millisecond)
			if n := len(r.fake.Link("l").Opens()); n != opens {
				opens, hears = n, time.Now().Add(25*time.Second)
			}
			d.Silence(time.Now().Before(hears))
		}
		r.take(true)
		if s := r.of(1); len(s) == 0 || s[len(s)-1].Quality != driver.Good || opens > 4 {
			t.Errorf("after two minutes and %d connections the samples are %v", opens, runs(s))
		}
	})
}

// TestSilentConnectionIsReplaced: one on which a device did answer is given up after its three
// time-outs, and one that never does after a while.
func TestSilentConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 1, table(1))
		l.Timeout = 300 * time.Millisecond
		d := r.set("l", "d1", 1)
		r.apply(l)
		sleep(5 * time.Second)
		d.Silence(true)
		sleep(5 * time.Second)
		if n := len(r.fake.Link("l").Opens()); n != 2 {
			t.Errorf("opened %d times 5 s after a connection fell silent, want 2", n)
		}
		sleep(3 * time.Minute)
		if n := len(r.fake.Link("l").Opens()); n < 4 || n > 8 {
			t.Errorf("opened %d times in three minutes of silence", n)
		}
		want := []control.Condition{control.Connecting, control.Up, control.Down}
		if diff := cmp.Diff(want, r.conditions("l")[:3]); diff != "" || len(r.conditions("l")) != 3 {
			t.Errorf("the conditions of the link (-want +got):\n%s%v", diff, r.conditions("l"))
		}
	})
}

// TestRequestMeetsTheEnd: a write that meets the end of a connection is the writer's to know. A
// link that connects again by itself is not down for that, and its points are well.
func TestRequestMeetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		fake := r.fake.Link("l")
		fake.ConnectsLate()
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(5*time.Second + 500*time.Millisecond)
		fake.FailOpen(errNoWay)
		if err := r.Write(t.Context(), "l", "d1", "p0", driver.Int64Value(1)); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("the write: %v", err)
		}
		fake.FailOpen(nil)
		sleep(5 * time.Second)
		r.take(true)
		if got := runs(r.of(1)); len(got) != 1 {
			t.Errorf("the samples are %v, want Good ones only", got)
		}
		want := []control.Condition{control.Connecting, control.Up}
		if diff := cmp.Diff(want, r.conditions("l")); diff != "" {
			t.Errorf("the conditions of the link (-want +got):\n%s", diff)
		}
	})
}
