package engine_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ptr(f float64) *float64 { return &f }

// table makes n readable and writable points p0, p1, ... at the addresses a0, a1, ...
func table(n int, change ...func(i int, p *control.Point)) *control.Table {
	t := &control.Table{Points: make([]control.Point, n)}
	for i := range t.Points {
		p := &t.Points[i]
		*p = control.Point{Name: fmt.Sprintf("p%d", i), Address: fmt.Sprintf("a%d", i), Readable: true, Writable: true}
		for _, f := range change {
			f(i, p)
		}
	}
	return t
}

// link makes a link with devices d1, d2, ... of one table, polled once a second.
func link(name string, devices int, t *control.Table) control.Link {
	l := control.Link{
		Name: name, Timeout: time.Second,
		Classes: []control.Class{{Name: "default", Period: time.Second}},
	}
	for i := range devices {
		l.Devices = append(l.Devices, control.Device{
			Name: fmt.Sprintf("d%d", i+1), Table: t, FirstHandle: uint32(1000*i + 1),
		})
	}
	return l
}

// rig is an engine around a fake, in a bubble.
type rig struct {
	t    *testing.T
	fake *drivertest.Fake
	*engine.Engine
	revision uint64
	frames   []frame.Frame
	samples  []frame.HandleSample

	mu     sync.Mutex
	events []control.Event
}

func newRig(t *testing.T, o engine.Options) *rig {
	r := &rig{t: t, fake: drivertest.NewFake()}
	o.OnEvent = func(e control.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	r.Engine = engine.New(r.fake, o)
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// set gives a0..an of a device whole numbers.
func (r *rig) set(link, device string, n int) *drivertest.FakeDevice {
	d := r.fake.Link(link).Device(device)
	for i := range n {
		d.Set(fmt.Sprintf("a%d", i), driver.Int64Value(int64(i)))
	}
	return d
}

func (r *rig) apply(links ...control.Link) {
	r.t.Helper()
	r.applyWith(control.ApplyOptions{}, links...)
}

func (r *rig) applyWith(o control.ApplyOptions, links ...control.Link) {
	r.t.Helper()
	r.revision++
	faults, err := r.Apply(context.Background(), &control.State{Revision: r.revision, Links: links}, o)
	if err != nil || len(faults) > 0 {
		r.t.Fatalf("apply: %v %v", err, faults)
	}
}

// take reads the frames there are, and acknowledges them where asked to.
func (r *rig) take(ack bool) {
	for {
		f, ok := r.Ring().TryNext()
		if !ok {
			return
		}
		r.frames = append(r.frames, f)
		if f.Batch != nil {
			if err := f.Batch.Check(); err != nil {
				r.t.Errorf("frame %d: %v", f.Sequence, err)
			}
			for s := range f.Batch.Samples() {
				r.samples = append(r.samples, s)
			}
		}
		if ack {
			r.Ring().Ack(f.Sequence)
		}
	}
}

// of gives the samples of one handle that were taken.
func (r *rig) of(handle uint32) []driver.Sample {
	var found []driver.Sample
	for _, s := range r.samples {
		if s.Handle == handle {
			found = append(found, s.Sample)
		}
	}
	return found
}

func (r *rig) device(link, device string) control.DeviceStatus {
	r.t.Helper()
	for _, d := range r.link(link).Devices {
		if d.Name == device {
			return d
		}
	}
	r.t.Fatalf("no device %s/%s in the status", link, device)
	return control.DeviceStatus{}
}

func (r *rig) link(name string) control.LinkStatus {
	r.t.Helper()
	s, err := r.Status(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range s.Links {
		if l.Name == name {
			return l
		}
	}
	r.t.Fatalf("no link %s in the status", name)
	return control.LinkStatus{}
}

// sleep lets bubble time pass.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func times(polls []drivertest.Poll) []time.Time {
	at := make([]time.Time, len(polls))
	for i, p := range polls {
		at[i] = p.At
	}
	return at
}

// shifts tells how far each time is from the grid of the period that the first
// lies on.
func shifts(at []time.Time, phase time.Time, period time.Duration) (worst time.Duration) {
	for _, t := range at {
		off := math.Mod(float64(t.Sub(phase)), float64(period))
		worst = max(worst, time.Duration(off))
	}
	return worst
}
