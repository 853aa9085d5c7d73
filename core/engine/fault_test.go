package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestDeadDeviceOnSharedLink is the promise: no neighbour moves by more than one
// time-out before the demotion, and by nothing after it.
func TestDeadDeviceOnSharedLink(t *testing.T) {
	for _, timeout := range []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testDeadDevice(t, timeout) })
		})
	}
}

func testDeadDevice(t *testing.T, timeout time.Duration) {
	r := newRig(t, engine.Options{})
	l := link("l", 10, table(5))
	l.Timeout = timeout
	var devices []*drivertest.FakeDevice
	for i := range 10 {
		d := r.set("l", fmt.Sprintf("d%d", i+1), 5)
		d.Delay(5 * time.Millisecond)
		devices = append(devices, d)
	}
	r.apply(l)
	sleep(20 * time.Second)
	phase := make([]time.Time, 10)
	for i, d := range devices {
		polls := times(d.Polls())
		phase[i] = polls[len(polls)-1]
	}
	before := make([]time.Duration, 10) // two neighbours in a slot already wait for each other
	for i, d := range devices {
		before[i] = shifts(times(d.Polls()), d.Polls()[0].At.Truncate(50*time.Millisecond), time.Second)
	}
	dead := devices[3]
	dead.Silence(true)
	demoted := time.Time{}
	counts := make([]int, 10)
	for i, d := range devices {
		counts[i] = len(d.Polls())
	}
	for range 100 {
		sleep(timeout / 2)
		if r.device("l", "d4").Condition == control.Down {
			demoted = time.Now()
			break
		}
	}
	if demoted.IsZero() {
		t.Fatal("the dead device was not demoted")
	}
	if n := len(dead.Polls()) - counts[3]; n != 3 {
		t.Errorf("%d polls before the demotion, want 3", n)
	}
	sleep(5 * time.Minute)
	probes := 0
	for _, at := range times(dead.Polls()) {
		if at.After(demoted) {
			probes++
		}
	}
	if probes < 20 || probes > 60 {
		t.Errorf("%d probes in five minutes", probes)
	}
	for i, d := range devices {
		if i == 3 {
			continue
		}
		base := d.Polls()[0].At.Truncate(50 * time.Millisecond)
		for _, at := range times(d.Polls()) {
			shift := at.Sub(base) % time.Second
			if at.After(demoted.Add(timeout)) && shift > before[i] {
				t.Fatalf("d%d moved by %v after the demotion (%v before)", i+1, shift, before[i])
			}
		}
		if late := r.device("l", fmt.Sprintf("d%d", i+1)).MaxLate; late > timeout+50*time.Millisecond {
			t.Errorf("d%d was %v late", i+1, late)
		}
	}
	if n := len(r.fake.Link("l").Opens()); n != 1 {
		t.Errorf("the link was opened %d times", n)
	}
	dead.Silence(false)
	sleep(30 * time.Second)
	if s := r.device("l", "d4"); s.Condition != control.Up {
		t.Errorf("the device came back and is %v: %v", s.Condition, s.Cause)
	}
	r.take(true)
	if s := r.of(3001); len(s) == 0 || s[len(s)-1].Quality != driver.Good {
		t.Errorf("no Good sample after the device came back")
	}
}

func TestProbesBesideContinuousNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(1))
		l.Classes[0].Period = 0
		busy, dead := r.set("l", "d1", 1), r.set("l", "d2", 1)
		busy.Delay(10 * time.Millisecond)
		dead.Silence(true)
		r.apply(l)
		sleep(20 * time.Second)
		dead.Silence(false)
		sleep(15 * time.Second)
		if s := r.device("l", "d2"); s.Condition != control.Up {
			t.Errorf("the device is %v", s.Condition)
		}
	})
}

func TestAllDeadReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		for i := range 3 {
			r.set("l", fmt.Sprintf("d%d", i+1), 1).Silence(true)
		}
		r.apply(link("l", 3, table(1)))
		sleep(30 * time.Second)
		if n := len(r.fake.Link("l").Opens()); n < 2 || n > 10 {
			t.Errorf("opened %d times", n)
		}
		if s := r.link("l"); s.Condition != control.Down || driver.CodeOf(s.Cause) != driver.Timeout {
			t.Errorf("link is %v: %v", s.Condition, s.Cause)
		}
		for i := range 3 {
			r.set("l", fmt.Sprintf("d%d", i+1), 1).Silence(false)
		}
		sleep(65 * time.Second)
		if s := r.link("l"); s.Condition != control.Up || s.Cause != nil {
			t.Errorf("link is %v: %v", s.Condition, s.Cause)
		}
		for i := range 3 {
			if s := r.device("l", fmt.Sprintf("d%d", i+1)); s.Condition != control.Up {
				t.Errorf("d%d is %v", i+1, s.Condition)
			}
		}
	})
}

func TestReopensWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 2)
		script := r.fake.Link("l")
		script.FailOpen(errors.New("refused"))
		r.apply(link("l", 1, table(2)))
		sleep(10 * time.Minute)
		opens := script.Opens()
		limit := 100 * time.Millisecond
		for i := 1; i < len(opens); i++ {
			wait := opens[i].Sub(opens[i-1])
			if wait < limit/2 || wait > limit {
				t.Errorf("open %d came after %v, want %v to %v", i, wait, limit/2, limit)
			}
			limit = min(2*limit, time.Minute)
		}
		if limit != time.Minute {
			t.Errorf("only %d opens", len(opens))
		}
		r.take(true)
		if bad := r.of(1); len(bad) < 6 || len(bad) > 10 || bad[0].Quality != driver.Bad || bad[0].Fault == nil {
			t.Errorf("%d Bad samples in ten minutes, want one for every open that fails a minute after the last: %v", len(bad), bad)
		}
		if _, err := r.Read(t.Context(), "l", "d1", []string{"p0"}); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("read of a link that is down: %v", err)
		}
		script.FailOpen(nil)
		sleep(62 * time.Second)
		if s := r.device("l", "d1"); s.Condition != control.Up {
			t.Fatalf("device is %v", s.Condition)
		}
		script.Break() // the backoff begins again at 100 ms
		was := len(script.Opens())
		sleep(1200 * time.Millisecond)
		if n := len(script.Opens()) - was; n != 1 || !script.Connected() {
			t.Errorf("opened %d times in a second after a cut", n)
		}
	})
}

func TestFaultCodes(t *testing.T) {
	boom := func(code driver.Code) error { return driver.Errorf(code, "boom") }
	for _, test := range []struct {
		err       error
		polls     [2]int // in 10 s at 1 s: least and most
		opens     [2]int
		condition control.Condition
	}{
		{boom(driver.InvalidConfig), [2]int{1, 1}, [2]int{1, 1}, control.Stopped},
		{boom(driver.Unsupported), [2]int{1, 1}, [2]int{1, 1}, control.Degraded},
		{boom(driver.NotFound), [2]int{9, 10}, [2]int{1, 1}, control.Degraded},
		{&driver.Error{Code: driver.Busy, Text: "busy", After: 4 * time.Second}, [2]int{2, 3}, [2]int{1, 1}, control.Degraded},
		{boom(driver.NotConnected), [2]int{3, 8}, [2]int{3, 9}, control.Down},
		{boom(driver.Internal), [2]int{3, 8}, [2]int{3, 9}, control.Down},
		{boom(driver.Protocol), [2]int{4, 11}, [2]int{2, 9}, control.Down},
		{errors.New("not one of ours"), [2]int{3, 8}, [2]int{3, 9}, control.Down},
	} {
		t.Run(test.err.Error()+"/"+driver.CodeOf(test.err).String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				d := r.set("l", "d1", 1)
				d.Fail(test.err)
				r.apply(link("l", 1, table(1)))
				sleep(10 * time.Second)
				if n := len(d.Polls()); n < test.polls[0] || n > test.polls[1] {
					t.Errorf("%d polls, want %v", n, test.polls)
				}
				if n := len(r.fake.Link("l").Opens()); n < test.opens[0] || n > test.opens[1] {
					t.Errorf("%d opens, want %v", n, test.opens)
				}
				if s := r.device("l", "d1"); s.Condition != test.condition {
					t.Errorf("device is %v (%v), want %v", s.Condition, s.Cause, test.condition)
				}
				r.take(true)
				if s := r.of(1); len(s) == 0 || s[0].Quality != driver.Bad || driver.CodeOf(s[0].Fault) != driver.CodeOf(test.err) {
					t.Errorf("samples: %+v", s)
				}
			})
		})
	}
}

func TestPartialResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		d.SetSample("a2", driver.Sample{Value: driver.Float64Value(1.5), Quality: driver.Uncertain})
		r.apply(link("l", 1, table(4))) // a3 is not there
		sleep(1500 * time.Millisecond)
		r.take(true)
		for handle, want := range map[uint32]driver.Quality{1: driver.Good, 2: driver.Good, 3: driver.Uncertain, 4: driver.Bad} {
			if s := r.of(handle); len(s) == 0 || s[0].Quality != want {
				t.Errorf("handle %d: %+v, want %v", handle, s, want)
			}
		}
		if s := r.of(4); driver.CodeOf(s[0].Fault) != driver.NotFound {
			t.Errorf("fault is %v", s[0].Fault)
		}
		if s := r.device("l", "d1"); s.Condition != control.Up || s.BadSamples == 0 || s.Failures != 0 {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestUnsupportedPointIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 3)
		d.SetSample("a1", driver.Faulted(driver.Errorf(driver.Unsupported, "no such type")))
		r.apply(link("l", 1, table(3)))
		sleep(5 * time.Second)
		r.take(true)
		polls := d.Polls()
		if polls[0].Points != 3 || polls[1].Points != 2 {
			t.Errorf("polls: %v", polls)
		}
		if a, b, c := len(r.of(1)), len(r.of(2)), len(r.of(3)); b != 1 || a < 4 || a != c {
			t.Errorf("samples: %d, %d, %d", a, b, c)
		}
	})
}

func TestConditionsAndEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		d.Silence(true)
		sleep(10 * time.Second)
		d.Silence(false)
		sleep(20 * time.Second)
		var got []control.Condition
		r.mu.Lock()
		for _, e := range r.events {
			if e.Device == "d1" && (len(got) == 0 || got[len(got)-1] != e.Condition) {
				got = append(got, e.Condition)
			}
		}
		r.mu.Unlock()
		want := []control.Condition{control.Connecting, control.Up, control.Degraded, control.Down, control.Up}
		if !slices.Equal(got, want) {
			t.Errorf("conditions were %v, want %v", got, want)
		}
		now := r.Conditions()
		if len(now) != 2 || now[0].Device != "" || now[1].Device != "d1" || now[1].Condition != control.Up {
			t.Errorf("conditions are %v", now)
		}
	})
}

func TestTwoDeadDevicesDelayANeighbourOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 5, table(1))
		l.Timeout = 400 * time.Millisecond
		for i := range 5 {
			r.set("l", fmt.Sprintf("d%d", i+1), 1).Silence(i > 2)
		}
		r.apply(l)
		sleep(2 * time.Minute)
		for i := range 3 {
			if late := r.device("l", fmt.Sprintf("d%d", i+1)).MaxLate; late > 800*time.Millisecond {
				t.Errorf("d%d was %v late", i+1, late)
			}
		}
	})
}

// gateway is a serial gateway behind one connection: it asks one unit at a time, and
// while it waits for one that is slow, for longer than the link's time-out, nobody
// else is answered.
type gateway struct {
	*drivertest.Fake
	slow      string
	patience  time.Duration
	mu        sync.Mutex
	busyUntil time.Time
}

func (g *gateway) Open(_ context.Context, cfg driver.LinkConfig, _ driver.Env) (driver.Link, error) {
	return gatewayLink{g, cfg.Timeout}, nil
}

type gatewayLink struct {
	*gateway
	timeout time.Duration
}

func (l gatewayLink) Close(context.Context) error { return nil }

func (l gatewayLink) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	return gatewayUnit{l, cfg.Name}, nil
}

type gatewayUnit struct {
	gatewayLink
	name string
}

func (u gatewayUnit) Read(_ context.Context, _ []driver.Point, out []driver.Sample) error {
	u.mu.Lock()
	wait := time.Until(u.busyUntil)
	if u.name == u.slow {
		u.busyUntil = time.Now().Add(max(wait, 0) + u.patience)
		wait = u.timeout + time.Second
	}
	u.mu.Unlock()
	if wait > u.timeout {
		time.Sleep(u.timeout)
		return driver.Errorf(driver.Timeout, "unit %s does not answer", u.name)
	}
	time.Sleep(max(wait, 0) + 5*time.Millisecond)
	for i := range out {
		out[i] = driver.GoodSample(driver.Int64Value(1))
	}
	return nil
}

// TestSlowUnitBehindAGateway has one unit hold up the others behind it: it is
// demoted, and they are not.
func TestSlowUnitBehindAGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, patience := range []time.Duration{1500 * time.Millisecond, 2500 * time.Millisecond, 3500 * time.Millisecond} {
			g := &gateway{Fake: drivertest.NewFake(), slow: "d2", patience: patience}
			r := &rig{t: t}
			r.Engine = engine.New(g, engine.Options{OnEvent: func(e control.Event) {
				if e.Condition == control.Down && e.Device != g.slow {
					t.Errorf("%v: %s%s is down: %v", patience, e.Link, e.Device, e.Cause)
				}
			}})
			l := link("l", 6, table(1))
			l.Timeout = 500 * time.Millisecond
			r.apply(l)
			sleep(3 * time.Minute)
			if s := r.device("l", "d2"); s.Condition != control.Down {
				t.Errorf("%v: the slow unit is %v", patience, s.Condition)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
