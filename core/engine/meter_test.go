package engine_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// metered is a driver that keeps its link's Env.
type metered struct {
	driver.Driver
	mu  sync.Mutex
	env map[string]driver.Env
}

func (m *metered) of(link string) driver.Env {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.env[link]
}

func (m *metered) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	m.mu.Lock()
	m.env[cfg.Name] = env
	m.mu.Unlock()
	return m.Driver.Open(ctx, cfg, env)
}

func TestMetersAreInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := &metered{Driver: r.fake, env: map[string]driver.Env{}}
		r.set("a", "d1", 1)
		r.set("b", "d1", 1)
		e := engine.New(d, engine.Options{})
		defer func() { _ = e.Close(context.Background()) }()
		apply := func(links ...control.Link) {
			if faults, err := e.Apply(t.Context(), &control.State{Links: links}, control.ApplyOptions{}); err != nil || len(faults) > 0 {
				t.Fatal(faults, err)
			}
			time.Sleep(time.Second)
		}
		other := link("b", 1, table(1))
		other.Devices[0].FirstHandle = 500
		apply(link("a", 1, table(1)), other)
		a, b := d.of("a"), d.of("b")
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for range 1000 {
					a.Count("frames", 1)
				}
			})
		}
		all.Wait()
		a.Count("frames", -1)          // a counter only grows
		a.Count("frames", math.NaN())  //
		a.Count("frames", math.Inf(1)) //
		a.Gauge("frames", 5)           // nor is it a gauge
		a.Gauge("queue", 3)
		a.Gauge("queue", 2.5)
		a.Count("queue", 1)
		b.Gauge("", 1)
		b.Gauge("\xff", 1)
		b.Gauge("two words", 1)
		b.Gauge("z", math.NaN())
		b.Gauge("z", math.Inf(-1))
		b.Count("huge", math.MaxFloat64)
		b.Count("huge", math.MaxFloat64) // it stays a number
		b.Gauge(strings.Repeat("n", 65), 1)
		b.Gauge("z", 1)
		want := []control.Meter{
			{Link: "a", Name: "frames", Value: 10000, Counter: true}, {Link: "a", Name: "queue", Value: 2.5},
			{Link: "b", Name: "huge", Value: math.MaxFloat64, Counter: true}, {Link: "b", Name: "z", Value: 1},
		}
		if diff := cmp.Diff(want, status(t, e).Meters); diff != "" {
			t.Error(diff)
		}
		apply(other)
		for i := range 100 {
			b.Gauge(fmt.Sprint(i), 1)
		}
		if n := len(status(t, e).Meters); n != 64 {
			t.Errorf("%d numbers of one link", n)
		}
	})
}

func status(t *testing.T, e *engine.Engine) *control.Status {
	t.Helper()
	s, err := e.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCountingCostsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := &metered{Driver: r.fake, env: map[string]driver.Env{}}
		r.set("a", "d1", 1)
		e := engine.New(d, engine.Options{})
		defer func() { _ = e.Close(context.Background()) }()
		if _, err := e.Apply(t.Context(), &control.State{Links: []control.Link{link("a", 1, table(1))}}, control.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		env := d.of("a")
		env.Count("n", 1)
		if n := testing.AllocsPerRun(1000, func() { env.Count("n", 1); env.Gauge("g", 2) }); n > 0 {
			t.Errorf("%v allocations a count", n)
		}
	})
}
