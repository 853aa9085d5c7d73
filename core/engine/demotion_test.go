package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestProbesGrowRarer pins the times of the probes of a dead device: after a second, then
// after twice as long each time, up to ten seconds, of which each is off by a quarter.
func TestProbesGrowRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(3))
		l.Timeout = 100 * time.Millisecond
		r.set("l", "d1", 3)
		dead := r.set("l", "d2", 3)
		dead.Silence(true)
		r.apply(l)
		sleep(time.Minute)
		polls := dead.Polls()
		for i, p := range polls {
			if want := 3; i < 3 && p.Points != want || i >= 3 && p.Points != 1 {
				t.Errorf("poll %d is of %d points", i, p.Points)
			}
		}
		limit := time.Second
		for i := 3; i < len(polls); i++ {
			wait := polls[i].At.Sub(polls[i-1].At) - l.Timeout
			least, most := limit*3/4, limit*5/4+50*time.Millisecond
			if i == 3 {
				least = limit
			}
			if wait < least || wait > most+l.Timeout {
				t.Errorf("probe %d came after %v, want %v to %v", i-2, wait, least, most)
			}
			limit = min(2*limit, 10*time.Second)
		}
		if len(polls) < 8 {
			t.Errorf("only %d polls", len(polls))
		}
	})
}

// TestLongPeriodIsProbedInItsPeriod has no device asked more often when it is dead.
func TestLongPeriodIsProbedInItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(1))
		l.Classes = append(l.Classes, control.Class{Name: "slow", Period: 5 * time.Minute})
		l.Devices[1].Table = table(1, func(_ int, p *control.Point) { p.Class = 1 })
		r.set("l", "d1", 1)
		r.set("l", "d2", 1).Silence(true)
		r.apply(l)
		sleep(2 * time.Hour)
		before := len(r.fake.Link("l").Device("d2").Polls())
		sleep(time.Hour)
		if n := len(r.fake.Link("l").Device("d2").Polls()) - before; n < 10 || n > 16 {
			t.Errorf("%d probes in an hour of a device with a period of 5 min", n)
		}
	})
}

// TestAnswerForgivesFailures demotes at the third failure in a row only.
func TestAnswerForgivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(1))
		l.Timeout = 100 * time.Millisecond
		r.set("l", "d1", 1)
		d := r.set("l", "d2", 1)
		r.apply(l)
		sleep(3 * time.Second)
		for range 5 {
			d.Silence(true)
			sleep(2 * time.Second) // two polls
			if s := r.device("l", "d2"); s.Condition != control.Degraded {
				t.Errorf("the device is %v after two failures", s.Condition)
			}
			d.Silence(false)
			sleep(time.Second)
			if s := r.device("l", "d2"); s.Condition != control.Up {
				t.Errorf("the device is %v after an answer", s.Condition)
			}
		}
		d.Silence(true)
		sleep(3 * time.Second)
		if s := r.device("l", "d2"); s.Condition != control.Down {
			t.Errorf("the device is %v after three failures", s.Condition)
		}
	})
}

// TestReadTakesADeviceBack has an on-demand read promote a demoted device, also one that the
// device refuses: it lives.
func TestReadTakesADeviceBack(t *testing.T) {
	for name, answer := range map[string]error{"value": nil, "refusal": driver.Errorf(driver.NotFound, "no such register")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				r.set("l", "d1", 1)
				d := r.set("l", "d2", 1)
				d.Silence(true)
				r.apply(link("l", 2, table(1)))
				sleep(time.Minute)
				if s := r.device("l", "d2"); s.Condition != control.Down {
					t.Fatalf("the device is %v", s.Condition)
				}
				d.Silence(false)
				d.Fail(answer)
				if _, err := r.Read(t.Context(), "l", "d2", []string{"p0"}); (err == nil) != (answer == nil) {
					t.Errorf("read: %v", err)
				}
				before := len(d.Polls())
				sleep(5 * time.Second)
				if n := len(d.Polls()) - before; n < 4 || n > 6 {
					t.Errorf("%d polls in 5 s after the read", n)
				}
			})
		})
	}
}

// TestDeadPointsAreBadOnceAMinute counts the Bad samples of a device that stays away.
func TestDeadPointsAreBadOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(2))
		l.Timeout = 100 * time.Millisecond
		r.set("l", "d1", 2)
		r.set("l", "d2", 2).Silence(true)
		r.apply(l)
		sleep(10*time.Minute + 30*time.Second)
		r.take(true)
		// Three polls, and one from each first probe after a minute.
		if n := len(r.of(1001)); n < 11 || n > 13 {
			t.Errorf("%d Bad samples in ten minutes", n)
		}
	})
}

// unready is a driver whose devices are refused for now.
type unready struct {
	*drivertest.Fake
	mu    sync.Mutex
	code  driver.Code
	asked []time.Time
}

func (u *unready) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	l, err := u.Fake.Open(ctx, cfg, env)
	return unreadyLink{l, u}, err
}

type unreadyLink struct {
	driver.Link
	u *unready
}

func (l unreadyLink) Device(ctx context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	l.u.asked = append(l.u.asked, time.Now())
	if l.u.code != driver.OK {
		return nil, driver.Errorf(l.u.code, "not now")
	}
	return l.Link.Device(ctx, cfg)
}

// TestUnreadyDeviceIsPreparedAgain pins when: after a second, doubled up to a minute; what
// is wrong with its configuration stops it.
func TestUnreadyDeviceIsPreparedAgain(t *testing.T) {
	for code, condition := range map[driver.Code]control.Condition{
		driver.Timeout: control.Down, driver.Internal: control.Down,
		driver.InvalidConfig: control.Stopped, driver.Unsupported: control.Stopped,
	} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &unready{Fake: drivertest.NewFake(), code: code}
				r := &rig{t: t, fake: u.Fake}
				r.Engine = engine.New(u, engine.Options{})
				defer r.Close(context.Background())
				r.set("l", "d1", 1)
				r.apply(link("l", 1, table(1)))
				sleep(10 * time.Minute)
				if s := r.device("l", "d1"); s.Condition != condition {
					t.Errorf("the device is %v", s.Condition)
				}
				_, err := r.Read(t.Context(), "l", "d1", []string{"p0"})
				if !errors.Is(err, driver.ErrNotSent) {
					t.Errorf("read: %v", err)
				}
				wait := time.Second
				for i := 1; i < len(u.asked); i++ {
					if got := u.asked[i].Sub(u.asked[i-1]); got != wait {
						t.Errorf("attempt %d came after %v, want %v", i, got, wait)
					}
					wait = min(2*wait, time.Minute)
				}
				if stopped := condition == control.Stopped; stopped != (len(u.asked) == 1) {
					t.Errorf("%d attempts", len(u.asked))
				}
				if n := len(r.fake.Link("l").Opens()); n != 1 {
					t.Errorf("the link was opened %d times", n)
				}
			})
		})
	}
}

// TestLinkBacksOffAfterCuts pins that cuts without an answer between make the link wait
// longer, and that an answer makes it begin again.
func TestLinkBacksOffAfterCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(5 * time.Millisecond)
		d.Fail(driver.Errorf(driver.NotConnected, "cut"))
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0
		r.apply(l)
		sleep(5 * time.Minute)
		script := r.fake.Link("l")
		opens := script.Opens()
		limit := 100 * time.Millisecond
		for i := 1; i < len(opens); i++ {
			if wait := opens[i].Sub(opens[i-1]); wait < limit/2 || wait > limit+5*time.Millisecond {
				t.Errorf("open %d came after %v, want %v to %v", i, wait, limit/2, limit)
			}
			limit = min(2*limit, time.Minute)
		}
		if limit != time.Minute {
			t.Errorf("only %d opens", len(opens))
		}
		d.Fail(nil)
		sleep(time.Minute + time.Second)
		was := len(script.Opens())
		script.Break()
		sleep(101 * time.Millisecond)
		if n := len(script.Opens()) - was; n != 1 {
			t.Errorf("opened %d times in 100 ms after an answer and a cut", n)
		}
	})
}
