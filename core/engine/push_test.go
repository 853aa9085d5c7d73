package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

func pushed(point int, v int64) driver.PointSample {
	return driver.PointSample{Point: point, Sample: driver.GoodSample(driver.Int64Value(v))}
}

func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 3)
		d.Pushes()
		r.apply(link("l", 1, table(3)))
		sleep(time.Second)
		if n := len(d.Polls()); n != 0 {
			t.Errorf("a device that pushes was polled %d times", n)
		}
		var stored atomic.Int32
		for i := range 100 {
			if err := d.Emit(t.Context(), []driver.PointSample{pushed(i%3, int64(i))}, func() { stored.Add(1) }); err != nil {
				t.Fatal(err)
			}
		}
		sleep(21 * time.Millisecond)
		r.take(false)
		if len(r.samples) != 100 || len(r.frames) != 1 {
			t.Fatalf("%d samples in %d frames, want 100 in 1", len(r.samples), len(r.frames))
		}
		for i, s := range r.samples {
			if s.Handle != uint32(i%3+1) || !s.Value.Equal(driver.Int64Value(int64(i))) {
				t.Fatalf("sample %d is %+v", i, s)
			}
		}
		if n := stored.Load(); n != 0 {
			t.Errorf("%d emits stored before the ack", n)
		}
		r.Ring().Ack(r.frames[0].Sequence)
		if n := stored.Load(); n != 100 {
			t.Errorf("%d emits stored after the ack", n)
		}
		if err := d.Emit(t.Context(), []driver.PointSample{{Point: 3}}, nil); driver.CodeOf(err) != driver.Internal {
			t.Errorf("emit of a point that is not there: %v", err)
		}
	})
}

func TestPushOfMuchIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 3)
		d.Pushes()
		r.apply(link("l", 1, table(3)))
		many := make([]driver.PointSample, 2500)
		for i := range many {
			many[i] = pushed(i%3, int64(i))
		}
		var stored atomic.Int32
		if err := d.Emit(t.Context(), many, func() { stored.Add(1) }); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		r.take(false)
		if len(r.frames) != 3 || len(r.samples) != 2500 {
			t.Fatalf("%d frames with %d samples", len(r.frames), len(r.samples))
		}
		for i, f := range r.frames {
			if stored.Load() != 0 {
				t.Errorf("stored after %d of 3 frames", i)
			}
			r.Ring().Ack(f.Sequence)
		}
		if stored.Load() != 1 {
			t.Errorf("stored ran %d times", stored.Load())
		}
	})
}

func TestPushWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{RingBytes: 4000})
		d := r.set("l", "d1", 1)
		d.Pushes()
		r.apply(link("l", 1, table(1)))
		var emitted atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			for {
				if err := d.Emit(ctx, []driver.PointSample{pushed(0, emitted.Load())}, nil); err != nil {
					ended <- err
					return
				}
				emitted.Add(1)
				time.Sleep(time.Millisecond)
			}
		}()
		sleep(10 * time.Second)
		held := emitted.Load()
		if held == 0 || held > 1000 {
			t.Errorf("%d emitted into a ring of 4000 bytes", held)
		}
		r.take(true)
		sleep(10 * time.Second)
		if emitted.Load() == held {
			t.Error("the emitter goes not on when there is room")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("emit ended with %v", err)
		}
		sleep(time.Second)
		r.take(true)
		for i, s := range r.samples {
			if !s.Value.Equal(driver.Int64Value(int64(i))) {
				t.Fatalf("sample %d is %v", i, s.Value)
			}
		}
		if s, _ := r.Status(t.Context()); s.Ring.Dropped != 0 || int64(len(r.samples)) != emitted.Load() {
			t.Errorf("%d of %d arrived, %d dropped", len(r.samples), emitted.Load(), s.Ring.Dropped)
		}
	})
}

func TestSuppressedEmitIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Pushes()
		r.apply(link("l", 1, table(1, func(_ int, p *control.Point) { p.Deadband = ptr(10) })))
		var stored atomic.Int32
		note := func() { stored.Add(1) }
		for range 2 { // the second is within the deadband
			if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, note); err != nil {
				t.Fatal(err)
			}
			sleep(time.Second)
		}
		if stored.Load() != 0 {
			t.Errorf("stored ran %d times before the ack", stored.Load())
		}
		r.take(true)
		if stored.Load() != 2 || len(r.samples) != 1 {
			t.Errorf("stored ran %d times for %d samples", stored.Load(), len(r.samples))
		}
		if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, note); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		if stored.Load() != 3 {
			t.Error("an emit that left nothing to store, with nothing before it, was not told")
		}
	})
}

func TestSubscriptionFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Pushes()
		d.Fail(driver.Errorf(driver.Timeout, "no suback"))
		r.apply(link("l", 1, table(1)))
		sleep(5 * time.Second)
		if s := r.device("l", "d1"); s.Condition != control.Down || r.link("l").Opens != 1 {
			t.Errorf("device is %v, link opened %d times", s.Condition, r.link("l").Opens)
		}
		d.Fail(nil)
		sleep(time.Minute)
		if s := r.device("l", "d1"); s.Condition != control.Up {
			t.Errorf("device is %v", s.Condition)
		}
		r.fake.Link("l").Break()
		sleep(time.Second)
		if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, nil); err != nil {
			t.Errorf("emit after the link was opened again: %v", err)
		}
		if n := r.link("l").Opens; n != 2 {
			t.Errorf("opened %d times", n)
		}
		r.take(true)
		if s := r.of(1); s[0].Quality != driver.Bad {
			t.Errorf("no Bad sample while it was away: %v", s)
		}
	})
}

func TestChangedSubscriberEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		d.Pushes()
		r.apply(link("l", 1, table(1)))
		sleep(time.Second)
		l := link("l", 1, table(2))
		l.Devices[0].FirstHandle = 501
		r.apply(l)
		sleep(time.Second)
		if err := d.Emit(t.Context(), []driver.PointSample{pushed(1, 1)}, nil); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		r.take(true)
		if len(r.of(502)) != 1 || r.link("l").Opens != 1 {
			t.Errorf("samples %v, opened %d times", r.samples, r.link("l").Opens)
		}
	})
}
