package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// last is the last value of point p0, p1, ... of the device l/d1.
func (r *rig) last(point string) control.LastValue {
	r.t.Helper()
	values, next, err := r.Values(r.t.Context(), "l", "d1", 0)
	if err != nil || next != 0 {
		r.t.Fatalf("goes on with %d, %v", next, err)
	}
	for _, v := range values {
		if v.Point == point {
			return v
		}
	}
	return control.LastValue{}
}

// A deadband holds samples back; what was read last is known all the same, and since when it
// is what was sent.
func TestLastValueOfAPointThatDoesNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		r.apply(link("l", 1, table(2, func(_ int, p *control.Point) { p.Deadband = ptr(1) })))
		sleep(1100 * time.Millisecond)
		first := r.last("p1")
		sleep(time.Hour)
		d.Set("a1", driver.Float64Value(1.5)) // within the band
		sleep(1100 * time.Millisecond)
		v := r.last("p1")
		if !v.Value.Equal(driver.Float64Value(1.5)) || v.Quality != driver.Good || time.Since(v.Time) > 1100*time.Millisecond || !v.Since.Equal(first.Since) || first.Since.After(first.Time) {
			t.Errorf("%+v, first %+v", v, first)
		}
		r.take(true)
		if n := len(r.of(2)); n != 1 {
			t.Errorf("%d samples were sent", n)
		}
		r.set("l", "d1", 2).Set("a1", driver.Int64Value(5))
		sleep(1100 * time.Millisecond)
		if v := r.last("p1"); !v.Value.Equal(driver.Int64Value(5)) || !v.Since.Equal(v.Time) {
			t.Errorf("after a change: %+v", v)
		}
	})
}

// What is bad says why, and what was good before; also held back, and also where only one
// point is.
func TestLastValueOfWhatIsBad(t *testing.T) {
	for name, change := range map[string]func(int, *control.Point){
		"plain": func(int, *control.Point) {},
		"band":  func(_ int, p *control.Point) { p.Deadband = ptr(1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				d := r.set("l", "d1", 2)
				r.apply(link("l", 1, table(2, change)))
				sleep(5100 * time.Millisecond)
				good := r.last("p1")
				d.SetSample("a1", driver.Faulted(driver.Errorf(driver.NotFound, "no such register")))
				sleep(3 * time.Second)
				v := r.last("p1")
				if v.Quality != driver.Bad || v.Fault.Code != driver.NotFound || !v.Good.Equal(driver.Int64Value(1)) || !v.GoodTime.Equal(good.Time) {
					t.Errorf("%+v, good before %+v", v, good)
				}
				if v := r.last("p0"); v.Quality != driver.Good || !v.GoodTime.IsZero() {
					t.Errorf("the other point: %+v", v)
				}
				d.Silence(true)
				sleep(time.Minute)
				if v := r.last("p0"); v.Quality != driver.Bad || v.Fault.Code != driver.Timeout || !v.Good.Equal(driver.Int64Value(0)) || v.GoodTime.IsZero() {
					t.Errorf("of a device that is away: %+v", v)
				}
				d.Silence(false)
				d.Set("a1", driver.Int64Value(7))
				sleep(time.Minute)
				if v := r.last("p1"); v.Quality != driver.Good || !v.Value.Equal(driver.Int64Value(7)) || !v.GoodTime.IsZero() {
					t.Errorf("of a device that is back: %+v", v)
				}
			})
		})
	}
}

func TestLastValueOfADeviceThatPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 3)
		d.Pushes()
		r.apply(link("l", 1, table(3)))
		sleep(time.Second)
		sent := time.Now()
		if err := d.Emit(t.Context(), []driver.PointSample{pushed(1, 42)}, nil); err != nil {
			t.Fatal(err)
		}
		sleep(24 * time.Hour)
		if v := r.last("p1"); !v.Value.Equal(driver.Int64Value(42)) || v.Quality != driver.Good || !v.Time.Equal(sent) {
			t.Errorf("%+v, sent at %v", v, sent)
		}
		if v := r.last("p0"); v.Point != "" {
			t.Errorf("of a point that never came: %+v", v)
		}
		r.fake.Link("l").Break()
		r.fake.Link("l").FailOpen(driver.Errorf(driver.NotConnected, "refused"))
		sleep(time.Minute)
		if v := r.last("p1"); v.Quality != driver.Bad || !v.Good.Equal(driver.Int64Value(42)) || !v.GoodTime.Equal(sent) {
			t.Errorf("of a link that is down: %+v", v)
		}
	})
}

func TestLastValuesComeInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		const n = 2500
		d := r.set("l", "d1", n)
		d.Set("a7", driver.StringValue(strings.Repeat("x", 5<<10)))
		r.apply(link("l", 1, table(n)))
		sleep(1100 * time.Millisecond)
		seen := map[string]bool{}
		calls := 0
		for next := 0; calls == 0 || next > 0; calls++ {
			var values []control.LastValue
			var err error
			if values, next, err = r.Values(t.Context(), "l", "d1", next); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				seen[v.Point] = true
			}
		}
		if len(seen) != n-1 || seen["p7"] || calls != 3 {
			t.Errorf("%d points in %d calls, want all %d but the one with the long text", len(seen), calls, n)
		}
		for _, first := range []int{-1, n, n + 1} {
			if _, _, err := r.Values(t.Context(), "l", "d1", first); err != nil {
				t.Errorf("from %d: %v", first, err)
			}
		}
		if _, _, err := r.Values(t.Context(), "l", "d9", 0); driver.CodeOf(err) != driver.NotFound {
			t.Errorf("of a device that is not there: %v", err)
		}
	})
}
