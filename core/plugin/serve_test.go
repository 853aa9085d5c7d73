package plugin_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// counting is a whole driver: every poll reads one more than the one before. It
// keeps in its store how often its link was opened.
type counting struct{}

func (counting) Info() driver.Info { return driver.Info{Name: "counting", Version: "0.1.0"} }

func (counting) Open(ctx context.Context, _ driver.LinkConfig, env driver.Env) (driver.Link, error) {
	opens, err := env.Store.Get(ctx, "opens")
	if err != nil {
		return nil, err
	}
	return &countingLink{opens: int64(len(opens))}, env.Store.Put(ctx, "opens", append(opens, 'x'))
}

type countingLink struct {
	opens int64
	polls atomic.Int64
}

func (l *countingLink) Device(context.Context, driver.DeviceConfig) (driver.Device, error) {
	return l, nil
}

func (l *countingLink) Read(_ context.Context, _ []driver.Point, out []driver.Sample) error {
	for i := range out {
		out[i] = driver.GoodSample(driver.Int64Value(l.polls.Add(1)))
	}
	return nil
}

func (l *countingLink) Close(context.Context) error { return nil }

func countingState() *control.State {
	return &control.State{Revision: 1, Links: []control.Link{{
		Name: "line1", Timeout: time.Second,
		Classes: []control.Class{{Name: "default", Period: 20 * time.Millisecond}},
		Devices: []control.Device{{
			Name: "m1", FirstHandle: 7,
			Table: &control.Table{Points: []control.Point{{Name: "n", Address: "n", Readable: true}}},
		}},
	}}}
}

// batches passes the values of a point on, and every frame's sequence.
type batches struct {
	collector
	values chan int64
}

func (b *batches) Frame(seq uint64, frame []byte) {
	_, batch, gap, err := wire.DecodeFrame(frame)
	if err != nil || gap != nil {
		b.t.Errorf("frame %d: %+v %v", seq, gap, err)
		return
	}
	for s := range batch.Samples() {
		if s.Handle != 7 || s.Quality != driver.Good {
			b.t.Errorf("frame %d: sample %+v", seq, s)
		}
		b.values <- s.Value.Int64()
	}
	b.sequences <- seq
}

// TestServe goes through all of it: a driver under its engine in its own process,
// configured, polled, attached to twice, drained and stopped.
func TestServe(t *testing.T) {
	served := &services{kept: map[string][]byte{}}
	c := command("serve")
	c.Services = served
	p := launch(t, c)
	if faults, err := p.Apply(t.Context(), countingState(), control.ApplyOptions{}); err != nil || len(faults) != 0 {
		t.Fatal(faults, err)
	}
	h := host.Hello{CoreEpoch: 1}
	last := int64(0)
	for range 2 {
		b := &batches{collector: *newCollector(t), values: make(chan int64, 2*fakeFrames)}
		a := attach(t, p, h, b)
		waitEvent(t, &b.collector, control.Up)
		for range 5 {
			seq := waitFor(t, b.sequences, "frame")
			for len(b.values) > 0 {
				if n := <-b.values; n != last+1 {
					t.Fatalf("value %d after %d", n, last)
				}
				last++
			}
			a.Ack(seq)
			h.ResumeAfter, h.ProcessEpoch = seq, a.ProcessEpoch()
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := p.Drain(t.Context(), nil); err != nil || d.LastSequence < h.ResumeAfter {
		t.Errorf("drained up to %d after frame %d: %v", d.LastSequence, h.ResumeAfter, err)
	}
	if err := p.Stop(t.Context()); err != nil || p.Exit().Code != 0 {
		t.Errorf("%v %v", err, p.Exit())
	}
	if !slices.Equal(served.kept["line1/opens"], []byte("x")) {
		t.Errorf("store: %q", served.kept)
	}
}
