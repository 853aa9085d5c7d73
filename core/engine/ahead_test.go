package engine_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// sender is a driver, link and device whose reads take 10 ms and send ahead when
// they are asked to. It keeps a log of what the wire saw.
type sender struct {
	mu      sync.Mutex
	ahead   bool // a request is on the wire that no call waits for
	reads   int
	orphans int // calls of something else, or a close, with a request ahead
	writes  int
	fail    bool // the next read
}

func (s *sender) Info() driver.Info { return driver.Info{Name: "sender", Version: "1"} }

func (s *sender) Open(context.Context, driver.LinkConfig, driver.Env) (driver.Link, error) {
	return s, nil
}

func (s *sender) Device(context.Context, driver.DeviceConfig) (driver.Device, error) {
	return senderDevice{s}, nil
}

func (s *sender) Close(context.Context) error {
	s.alone()
	return nil
}

// alone counts a call that finds somebody else's request on the wire.
func (s *sender) alone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead {
		s.orphans++
	}
	s.ahead = false
}

type senderDevice struct{ *sender }

var _ driver.AheadReader = senderDevice{}

func (d senderDevice) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	d.alone()
	return d.ReadAhead(ctx, points, out, func() bool { return false })
}

func (d senderDevice) ReadAhead(_ context.Context, _ []driver.Point, out []driver.Sample, next func() bool) error {
	time.Sleep(10 * time.Millisecond)
	d.mu.Lock()
	d.ahead = false
	d.reads++
	n, fail := d.reads, d.fail
	d.fail = false
	d.mu.Unlock()
	goesOn := next()
	d.mu.Lock()
	d.ahead = goesOn
	d.mu.Unlock()
	if fail {
		return driver.Errorf(driver.Protocol, "not what was asked")
	}
	out[0] = driver.GoodSample(driver.Int64Value(int64(n)))
	return nil
}

func (d senderDevice) Write(context.Context, driver.Point, driver.Value) error {
	d.alone()
	d.writes++
	return nil
}

// TestAhead: a class without a period is read ahead; every read is delivered once
// and in order, and what was sent ahead is always read before anything else is done.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{}
		e := engine.New(s, engine.Options{})
		r := &rig{t: t, Engine: e}
		t.Cleanup(func() {
			if err := e.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0
		r.apply(l)
		sleep(time.Second)
		if err := e.Write(t.Context(), "l", "d1", "p0", driver.Int64Value(1)); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.fail = true
		s.mu.Unlock()
		sleep(time.Second)
		if _, err := e.Read(t.Context(), "l", "d1", []string{"p0"}); err != nil {
			t.Error(err)
		}
		sleep(105 * time.Millisecond)
		if _, err := e.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		r.take(true)
		if s.orphans > 0 || s.writes != 1 {
			t.Errorf("%d requests sent ahead were left alone, %d writes", s.orphans, s.writes)
		}
		if s.reads < 180 {
			t.Errorf("%d reads in 2.1 s of 10 ms each: it waits between them", s.reads)
		}
		last, good := int64(0), 0
		for _, sample := range r.of(1) {
			if sample.Quality != driver.Good {
				continue
			}
			good++
			if v := sample.Value.Int64(); v <= last {
				t.Errorf("read %d came after read %d", v, last)
			} else {
				last = v
			}
		}
		if want := s.reads - 2; good != want { // the failed one, and the one on demand
			t.Errorf("%d reads delivered, %d made", good, want)
		}
	})
}
