package engine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

func TestFramesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		var links []control.Link
		tab := table(20)
		for i := range 100 {
			name := fmt.Sprintf("l%d", i)
			r.set(name, "d1", 20).Delay(time.Millisecond)
			l := link(name, 1, tab)
			l.Devices[0].FirstHandle = uint32(100*i + 1)
			links = append(links, l)
		}
		r.apply(links...)
		sleep(10*time.Second + 500*time.Millisecond)
		r.take(true)
		polls := len(r.samples) / 20
		if polls < 1000 || len(r.frames) > 20*11 {
			t.Errorf("%d frames for %d polls in 20 slots a second", len(r.frames), polls)
		}
		for i, f := range r.frames {
			if f.Sequence != uint64(i+1) {
				t.Fatalf("frame %d has the sequence %d", i, f.Sequence)
			}
			if f.Samples > 1000 {
				t.Errorf("a frame of %d samples", f.Samples)
			}
		}
	})
}

func TestBigPollIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 2500)
		l := link("l", 1, table(2500))
		l.Classes[0].Period = time.Minute
		r.apply(l)
		sleep(1100 * time.Millisecond)
		r.take(true)
		if len(r.frames) != 3 || len(r.samples) != 2500 {
			t.Errorf("%d samples in %d frames", len(r.samples), len(r.frames))
		}
		for i, s := range r.samples {
			if s.Handle != uint32(i+1) || !s.Value.Equal(driver.Int64Value(int64(i))) {
				t.Fatalf("sample %d is %+v", i, s)
			}
		}
	})
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(10 * time.Second)
		r.take(false)
		n := len(r.frames)
		if n < 9 {
			t.Fatalf("%d frames", n)
		}
		if next := r.Ring().Attach(4); next != 5 {
			t.Errorf("attach after 4 goes on with %d", next)
		}
		f, err := r.Ring().Next(t.Context())
		if err != nil || f.Sequence != 5 || f.Samples != 1 {
			t.Errorf("frame %+v, %v", f, err)
		}
		if next := r.Ring().Attach(1 << 40); next != uint64(n+1) {
			t.Errorf("attach after a sequence that never was goes on with %d, want %d", next, n+1)
		}
		r.apply() // no more polls
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if f, err := r.Ring().Next(ctx); err == nil {
			t.Errorf("a frame where there is none: %+v", f)
		}
	})
}

// fill polls for a while without a consumer, then takes all.
func fill(t *testing.T, policy control.Policy) (r *rig, gaps []*frame.Gap) {
	o := engine.Options{RingBytes: 20_000}
	r = newRig(t, o)
	r.set("l", "d1", 10)
	l := link("l", 1, table(10))
	l.Classes[0] = control.Class{Name: "default", Period: 100 * time.Millisecond, Policy: policy}
	r.apply(l)
	for i := range 2000 {
		r.fake.Link("l").Device("d1").Set("a0", driver.Int64Value(int64(i)))
		sleep(100 * time.Millisecond)
		if s, _ := r.Status(t.Context()); s.Ring.Bytes > 22_000 {
			t.Fatalf("the ring of 20000 bytes has %d", s.Ring.Bytes)
		}
	}
	r.take(true)
	sleep(time.Second)
	r.take(true)
	for _, f := range r.frames {
		if f.Gap != nil {
			gaps = append(gaps, f.Gap)
		}
	}
	return r, gaps
}

func TestDropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, gaps := fill(t, control.DropOldest)
		s, _ := r.Status(t.Context())
		if len(gaps) != 1 || gaps[0].Samples != s.Ring.Dropped || gaps[0].Samples < 15_000 {
			t.Fatalf("gaps %v, %d dropped", gaps, s.Ring.Dropped)
		}
		if g := gaps[0]; g.FirstSeq != 1 || g.LastSeq != r.frames[0].Sequence || driver.CodeOf(g.Cause) != driver.Lost || !g.From.Before(g.To) {
			t.Errorf("gap is %+v", g)
		}
		if got := uint64(len(r.samples)) + gaps[0].Samples; got != s.Ring.Samples {
			t.Errorf("%d arrived or lost, %d made", got, s.Ring.Samples)
		}
		values := r.of(1)
		if last := values[len(values)-1].Value.Int64(); last != 1999 {
			t.Errorf("the last value is %d", last)
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, gaps := fill(t, control.Slow)
		s, _ := r.Status(t.Context())
		if len(gaps) != 0 || s.Ring.Dropped != 0 || s.Ring.Slowed < 1500 {
			t.Errorf("%d gaps, %d dropped, %d slowed", len(gaps), s.Ring.Dropped, s.Ring.Slowed)
		}
		if uint64(len(r.samples)) != s.Ring.Samples {
			t.Errorf("%d arrived, %d made", len(r.samples), s.Ring.Samples)
		}
	})
}

func TestLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, gaps := fill(t, control.Latest)
		s, _ := r.Status(t.Context())
		lost := uint64(0)
		for _, g := range gaps {
			lost += g.Samples
		}
		if len(gaps) != 1 || lost != s.Ring.Dropped || lost < 15_000 {
			t.Fatalf("gaps %v, %d dropped", gaps, s.Ring.Dropped)
		}
		if got := uint64(len(r.samples)) + lost; got != s.Ring.Samples {
			t.Errorf("%d arrived or lost, %d made", got, s.Ring.Samples)
		}
		values := r.of(1)
		for i := 1; i < len(values); i++ {
			if values[i].Value.Int64() < values[i-1].Value.Int64() {
				t.Fatalf("value %d comes after %d", values[i].Value.Int64(), values[i-1].Value.Int64())
			}
		}
		if last := values[len(values)-1].Value.Int64(); last != 1999 {
			t.Errorf("the last value is %d", last)
		}
	})
}

func TestGapsMakeDeadbandsSendAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{RingBytes: 3000})
		r.set("l", "d1", 2)
		r.apply(link("l", 1, table(2, func(i int, p *control.Point) {
			if i == 1 {
				p.Deadband = ptr(0)
			}
		})))
		sleep(time.Minute)
		r.take(true)
		if r.frames[0].Gap == nil {
			t.Fatal("no gap: the test needs a smaller ring")
		}
		sleep(3 * time.Second)
		r.take(true)
		if n := len(r.of(2)); n != 1 {
			t.Errorf("the point that never changes was sent %d times after the gap", n)
		}
	})
}
