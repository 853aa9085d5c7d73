package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

// goesOn tells by how much an engine's progress grows in 30 s: 60 when it is well.
func goesOn(e *engine.Engine) uint64 {
	before := e.Progress()
	time.Sleep(30 * time.Second)
	return e.Progress() - before
}

// TestProgressStops has the engine itself stand still, in each way that it can: the
// progress ends within 15 s, and goes on when the engine does.
func TestProgressStops(t *testing.T) {
	type wedge struct {
		fake    *drivertest.Fake
		hold    chan struct{} // closed to release
		holding atomic.Bool
	}
	wait := func(w *wedge) {
		if w.holding.Load() {
			<-w.hold
		}
	}
	for name, test := range map[string]struct {
		period  time.Duration // in a bubble, nobody must wait for a lock that is held
		options func(w *wedge, o *engine.Options)
		begin   func(t *testing.T, w *wedge, e *engine.Engine)
	}{
		"OnEvent holds the link's lock": {
			time.Second,
			func(w *wedge, o *engine.Options) { o.OnEvent = func(control.Event) { wait(w) } },
			func(_ *testing.T, w *wedge, _ *engine.Engine) { w.fake.Link("l").Device("d1").Silence(true) },
		},
		"the encoder hangs": {
			time.Hour,
			func(w *wedge, o *engine.Options) {
				o.Encode = func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
					wait(w)
					return encode(dst, seq, b, g)
				}
			},
			func(t *testing.T, w *wedge, _ *engine.Engine) {
				d := w.fake.Link("m").Device("d1")
				if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, nil); err != nil {
					t.Fatal(err)
				}
			},
		},
		"a stored callback hangs": {
			time.Second,
			func(*wedge, *engine.Options) {},
			func(t *testing.T, w *wedge, e *engine.Engine) {
				d := w.fake.Link("m").Device("d1")
				if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, func() { wait(w) }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				for {
					if _, ok := e.Ring().TryNext(); !ok {
						break
					}
				}
				go e.Ring().Ack(1 << 40)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wedge{fake: drivertest.NewFake(), hold: make(chan struct{})}
				o := engine.Options{}
				test.options(w, &o)
				e := engine.New(w.fake, o)
				w.fake.Link("m").Device("d1").Pushes()
				m := link("m", 1, table(1))
				m.Devices[0].FirstHandle = 9000
				l := link("l", 1, table(1))
				l.Classes[0].Period = test.period
				state := &control.State{Links: []control.Link{l, m}}
				if _, err := e.Apply(t.Context(), state, control.ApplyOptions{}); err != nil {
					t.Fatal(err)
				}
				if n := goesOn(e); n < 59 {
					t.Errorf("a healthy engine went on by %d", n)
				}
				w.holding.Store(true)
				test.begin(t, w, e)
				time.Sleep(15 * time.Second)
				if n := goesOn(e); n != 0 {
					t.Errorf("an engine that stands still went on by %d", n)
				}
				w.holding.Store(false)
				close(w.hold)
				if n := goesOn(e); n < 50 {
					t.Errorf("an engine that is well again went on by %d", n)
				}
				if err := e.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestProgressStopsWithTheScheduler has a scheduler wait for ever, with no lock held.
func TestProgressStopsWithTheScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		if n := goesOn(r.Engine); n < 59 {
			t.Errorf("a healthy engine went on by %d", n)
		}
		engine.LoseTimer(r.Engine, "l")
		time.Sleep(15 * time.Second)
		if n := goesOn(r.Engine); n != 0 {
			t.Errorf("an engine that stands still went on by %d", n)
		}
	})
}

// TestProgressStopsWithTheDriver has the calls of one link never return, and then those
// of both: only then is the driver of no use any more.
func TestProgressStopsWithTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l, m := r.set("l", "d1", 1), r.set("m", "d1", 1)
		second := link("m", 1, table(1))
		second.Devices[0].FirstHandle = 500
		r.apply(link("l", 1, table(1)), second)
		release := l.Hang()
		sleep(time.Hour)
		if n := goesOn(r.Engine); n < 59 {
			t.Errorf("it went on by %d though one link works", n)
		}
		releaseOther := m.Hang()
		sleep(5 * time.Minute)
		if n := goesOn(r.Engine); n != 0 {
			t.Errorf("it went on by %d though no call returns", n)
		}
		releaseOther()
		release()
		sleep(5 * time.Minute)
		if n := goesOn(r.Engine); n < 59 {
			t.Errorf("it went on by %d though all calls returned", n)
		}
	})
}

// TestProgressGoesOn does to an engine whatever a driver and its devices can: it
// goes on.
func TestProgressGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{RingBytes: 20_000})
		var links []control.Link
		add := func(i int, change func(name string, l *control.Link)) {
			l := link(fmt.Sprintf("l%d", i), 3, table(2))
			for j := range l.Devices {
				l.Devices[j].FirstHandle = uint32(100*i + 10*j + 1)
				r.set(l.Name, l.Devices[j].Name, 2)
			}
			change(l.Name, &l)
			links = append(links, l)
		}
		var releases []func()
		for i := range 40 {
			add(i, func(name string, l *control.Link) {
				d := r.fake.Link(name).Device("d1")
				switch i % 10 {
				case 0:
					d.Silence(true)
				case 1:
					releases = append(releases, d.Hang())
				case 2:
					releases = append(releases, r.fake.Link(name).Hang("open"))
				case 3:
					releases = append(releases, r.fake.Link(name).Hang("close"))
					d.Fail(driver.Errorf(driver.NotConnected, "gone"))
				case 4:
					d.Delay(900 * time.Millisecond)
					l.Classes[0].Period = 100 * time.Millisecond // never in time
				case 5:
					l.Classes[0].Policy = control.Slow // and nobody takes the frames
				case 6:
					l.Classes[0].Period = 10 * time.Hour
					l.Gap = time.Hour
				case 7:
					d.Fail(driver.Errorf(driver.InvalidConfig, "no"))
				case 8:
					d.Panic("ouch")
				case 9:
					d.Pushes()
					d.Fail(driver.Errorf(driver.Busy, "later"))
				}
			})
		}
		r.apply(links...)
		for range 40 {
			if n := goesOn(r.Engine); n < 59 {
				t.Fatalf("it went on by %d", n)
			}
		}
		for _, release := range releases {
			release()
		}
		sleep(time.Minute)
	})
}

// spinning is a driver whose Read spins, whatever its context says, until it is told
// to stop.
type spinning struct {
	*drivertest.Fake
	stop atomic.Bool
}

func (s *spinning) Open(context.Context, driver.LinkConfig, driver.Env) (driver.Link, error) {
	return spinningLink{s}, nil
}

type spinningLink struct{ *spinning }

func (l spinningLink) Close(context.Context) error { return nil }

func (l spinningLink) Device(context.Context, driver.DeviceConfig) (driver.Device, error) {
	return l, nil
}

func (l spinningLink) Read(context.Context, []driver.Point, []driver.Sample) error {
	for !l.stop.Load() {
	}
	return nil
}

// TestProgressBesideASpin goes by the real clock: with one processor, a driver that
// spins leaves the engine its share.
func TestProgressBesideASpin(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	d := &spinning{Fake: drivertest.NewFake()}
	e := engine.New(d, engine.Options{})
	l := link("l", 1, table(1))
	l.Timeout, l.Classes[0].Period = 10*time.Millisecond, 10*time.Millisecond
	if _, err := e.Apply(t.Context(), &control.State{Links: []control.Link{l}}, control.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for abandoned := false; e.Progress() < 8 || !abandoned; {
		<-tick.C
		s, err := e.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		abandoned = driver.CodeOf(s.Links[0].Devices[0].Cause) == driver.Internal
	}
	d.stop.Store(true)
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
