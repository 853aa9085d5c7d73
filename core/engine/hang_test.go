package engine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
)

func TestPanicIsInternal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d, other := r.set("l", "d1", 1), r.set("m", "d1", 1)
		d.Panic("ouch")
		m := link("m", 1, table(1))
		m.Devices[0].FirstHandle = 500
		r.apply(link("l", 1, table(1)), m)
		sleep(5 * time.Second)
		r.take(true)
		if s := r.of(1); len(s) == 0 || driver.CodeOf(s[0].Fault) != driver.Internal {
			t.Errorf("samples: %+v", s)
		}
		if n := len(other.Polls()); n < 4 || n > 5 {
			t.Errorf("the other link was polled %d times", n)
		}
		if err := r.Write(t.Context(), "m", "d1", "p0", driver.BoolValue(true)); err != nil {
			t.Errorf("write on the other link: %v", err)
		}
		d.Panic(nil)
		sleep(65 * time.Second)
		if s := r.device("l", "d1"); s.Condition != control.Up {
			t.Errorf("device is %v: %v", s.Condition, s.Cause)
		}
	})
}

func TestHangingCallIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 2, table(1)))
		r.set("l", "d2", 1)
		sleep(2 * time.Second)
		release := d.Hang()
		sleep(5 * time.Second)
		r.take(true)
		if s := r.link("l"); s.Opens != 2 {
			t.Errorf("the link was opened %d times", s.Opens)
		}
		found := false
		for _, s := range r.of(1) {
			found = found || driver.CodeOf(s.Fault) == driver.Internal
		}
		if !found {
			t.Error("no sample says that the call was abandoned")
		}
		progress := r.Progress()
		sleep(3 * time.Second)
		if r.Progress() == progress {
			t.Error("the engine makes no progress")
		}
		release()
		sleep(70 * time.Second)
		for _, name := range []string{"d1", "d2"} {
			if s := r.device("l", name); s.Condition != control.Up {
				t.Errorf("%s is %v: %v", name, s.Condition, s.Cause)
			}
		}
	})
}

func TestCloseReturnsThoughTheDriverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(1500 * time.Millisecond)
		defer d.Hang()()
		defer r.fake.Link("l").Hang("close")()
		sleep(time.Second)
		begun := time.Now()
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("close took %v", took)
		}
	})
}

func TestHangingOpensAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		release := r.fake.Link("l").Hang("open")
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Hour)
		if n := len(r.fake.Link("l").Opens()); n != 8 {
			t.Errorf("%d opens hang", n)
		}
		release()
		sleep(time.Minute)
		if s := r.link("l"); s.Condition != control.Up {
			t.Errorf("link is %v: %v", s.Condition, s.Cause)
		}
	})
}

// TestHangInAPipeline has one of several concurrent calls hang: the link is closed
// and opened again, and the others go on.
func TestHangInAPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.fake.Link("l").SetWindow(4)
		var devices []*drivertest.FakeDevice
		for i := range 6 {
			devices = append(devices, r.set("l", fmt.Sprintf("d%d", i+1), 1))
		}
		r.apply(link("l", 6, table(1)))
		sleep(3 * time.Second)
		release := devices[0].Hang()
		sleep(10 * time.Second)
		before := len(devices[1].Polls())
		sleep(10 * time.Second)
		if n := len(devices[1].Polls()) - before; n < 4 {
			t.Errorf("a neighbour was polled %d times in 10 s", n)
		}
		release()
		sleep(75 * time.Second)
		for i := range devices {
			if s := r.device("l", fmt.Sprintf("d%d", i+1)); s.Condition != control.Up {
				t.Errorf("d%d is %v: %v", i+1, s.Condition, s.Cause)
			}
		}
	})
}

// TestHangInAReplacedDevice has a call of a device hang whose configuration changes
// meanwhile: the new one is polled all the same.
func TestHangInAReplacedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		release := d.Hang()
		defer release()
		sleep(time.Second)
		l := link("l", 1, table(2))
		l.Devices[0].FirstHandle = 700
		r.apply(l)
		sleep(3 * time.Second)
		release()
		sleep(3 * time.Second)
		r.take(true)
		if len(r.of(701)) == 0 {
			t.Error("no sample of the new configuration")
		}
	})
}

// hanging is a driver whose Check does not return.
type hanging struct {
	*drivertest.Fake
	release chan struct{}
}

func (h hanging) Check(driver.LinkConfig, []driver.DeviceConfig) error {
	<-h.release
	return nil
}

func TestHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{drivertest.NewFake(), make(chan struct{})}
		e := engine.New(h, engine.Options{})
		_, err := e.Apply(t.Context(), &control.State{Links: []control.Link{link("l", 1, table(1))}}, control.ApplyOptions{})
		if driver.CodeOf(err) != driver.Internal {
			t.Errorf("apply: %v", err)
		}
		close(h.release)
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
