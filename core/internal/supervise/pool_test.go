package supervise_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("line%d", i)
	}
	return list
}

// newPool is a rig whose processes live by themselves.
func newPool(t *testing.T, change func(*supervise.Options)) *rig {
	r := emptyRig(t)
	r.beats = true
	r.begin(change)
	return r
}

// process is the one with an epoch.
func (r *rig) process(epoch uint64) *fakeProcess {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.all {
		if p.epoch == epoch {
			return p
		}
	}
	return nil
}

// holders counts the links of each process, and checks that every link is open once.
func (r *rig) holders(links ...string) map[uint64]int {
	r.t.Helper()
	synctest.Wait()
	n := make(map[uint64]int)
	for _, link := range links {
		who := r.theWorld().who(link)
		if who == 0 {
			r.t.Errorf("link %s is closed", link)
		}
		n[who]++
	}
	r.sane()
	return n
}

func (r *rig) sane() {
	r.t.Helper()
	log := r.logged()
	w := r.theWorld()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) > 0 {
		r.t.Error(strings.Join(w.wrong, "\n"))
	}
	if strings.Contains(log, "does not follow") {
		r.t.Error(log)
	}
}

func TestInstancesShareTheLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		links := names(40)
		st := state(1, links...)
		r.want(supervise.Desired{State: st, Instances: 4})
		time.Sleep(time.Second)
		before := make(map[string]uint64)
		for epoch, n := range r.holders(links...) {
			if n < 3 || n > 20 {
				t.Errorf("process %d has %d of 40 links", epoch, n)
			}
		}
		for _, link := range links {
			before[link] = r.world.who(link)
		}
		r.want(supervise.Desired{State: st, Instances: 5})
		time.Sleep(2 * time.Second)
		moved := 0
		for _, link := range links {
			if who := r.world.who(link); who != before[link] {
				moved++
				if who != 5 {
					t.Errorf("link %s moved from %d to %d, though only 5 is new", link, before[link], who)
				}
			}
		}
		if moved == 0 || moved > 16 {
			t.Errorf("%d of 40 links moved to the fifth process", moved)
		}
		for _, h := range r.process(5).activations() {
			if !strings.Contains(h, ":from ") {
				t.Errorf("activated without the old holder's hand-off: %s", h)
			}
		}
		r.want(supervise.Desired{State: st, Instances: 1})
		time.Sleep(10 * time.Second)
		if n := r.holders(links...); len(n) != 1 {
			t.Errorf("with one instance the links are with %v", n)
		}
		if s := r.status(); len(s.Processes) != 1 || s.Restarts != 0 || s.Gaps != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestACrashCostsItsShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		links := names(12)
		r.want(supervise.Desired{State: state(1, links...), Instances: 3})
		time.Sleep(time.Second)
		var victim string
		for i := range 5 {
			victim = links[0]
			p := r.process(r.world.who(victim))
			for _, link := range links {
				if r.world.who(link) == p.epoch {
					continue
				}
				if _, err := r.s.Control("fake", link); err != nil {
					t.Errorf("crash %d: %v", i, err)
				}
			}
			p.die("segmentation fault", fmt.Sprintf("crash %d", i))
			time.Sleep(2 * time.Second)
		}
		s := r.status()
		if s.State != supervise.Quarantined || !strings.Contains(s.Cause, "5 deaths in 5m") || !strings.Contains(s.Stderr[0], "crash 4") {
			t.Errorf("status %+v", s)
		}
		if _, err := r.s.Control("fake", victim); driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "quarantined") {
			t.Errorf("control of the victim: %v", err)
		}
		down, up := 0, 0
		for _, l := range s.Engine.Links {
			switch l.Condition {
			case control.Down:
				down++
				if !strings.Contains(l.Cause.Text, "quarantined") || len(l.Devices) != 1 || l.Devices[0].Condition != control.Down {
					t.Errorf("link %+v", l)
				}
			case control.Up:
				up++
			}
		}
		if down == 0 || up == 0 || down+up != 12 {
			t.Errorf("%d links down and %d up", down, up)
		}
		if err := r.s.Enable("fake"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		r.holders(links...)
		if err := r.s.Enable("none"); driver.CodeOf(err) != driver.NotFound {
			t.Errorf("Enable of nothing: %v", err)
		}
	})
}

func TestANewStateLiftsTheQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.failWith("exit status 1")
		r.set(1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := r.status(); s.State != supervise.Quarantined || r.launches() != 9 { // after 2, 6, 14 and 30 minutes
			t.Fatalf("%d starts, status %+v", r.launches(), s)
		}
		r.fail.Store(nil)
		r.set(2)
		synctest.Wait()
		r.holders("line")
	})
}

// A quarantine is not for ever: the driver is tried again, at longer and longer intervals, and
// what has been well for a minute is forgiven.
func TestAQuarantineIsTriedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.failWith("exit status 1")
		r.set(1)
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		for i, want := range []int{2, 4, 8, 16, 32, 60, 60} {
			if pause := r.times[5+i].Sub(r.times[4+i]); pause != time.Duration(want)*time.Minute {
				t.Errorf("after quarantine %d it was tried after %v, want %d min", i+1, pause, want)
			}
		}
		s := r.status()
		if s.State != supervise.Quarantined || !strings.Contains(s.Cause, "it died again after a quarantine") || time.Until(s.Processes[0].Retry) <= 0 {
			t.Errorf("status %+v", s)
		}
		r.fail.Store(nil)
		p := <-r.starts // by itself
		time.Sleep(2 * time.Minute)
		r.holders("line")
		p.die("killed")
		if again := <-r.starts; again == nil || r.status().State == supervise.Quarantined {
			t.Error("one death after two healthy minutes is a quarantine")
		}
	})
}

func TestStandbyTakesOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		links := names(4)
		r.want(supervise.Desired{State: state(1, links...), Standby: 1})
		time.Sleep(time.Second)
		r.holders(links...)
		for i := range 3 {
			p := r.process(r.world.who(links[0]))
			p.attachment().frame(1)
			died := time.Now()
			p.die("killed")
			synctest.Wait()
			if n := r.holders(links...); len(n) != 1 || time.Since(died) > 0 {
				t.Errorf("takeover %d: %v after %v", i, n, time.Since(died))
			}
			if s := r.status(); s.State != supervise.Active || s.Down != nil {
				t.Errorf("status after takeover %d: %+v", i, s)
			}
			time.Sleep(5 * time.Second) // the next standby is warmed
			if s := r.status(); len(s.Processes) != 2 || s.Processes[0].State == s.Processes[1].State {
				t.Errorf("processes after takeover %d: %+v", i, s.Processes)
			}
		}
		a := r.process(r.world.who(links[0])).attachment()
		a.frame(1)
		story := r.spool.story()
		if last := story[len(story)-2]; !strings.Contains(last, "an unknown number of samples") || !strings.Contains(last, "killed") {
			t.Errorf("in the spool: %q", story)
		}
		p := r.process(r.world.who(links[0]))
		p.die("killed")
		synctest.Wait()
		p = r.process(r.world.who(links[0]))
		p.die("killed") // the fifth death of these links within five minutes
		time.Sleep(time.Minute)
		if s := r.status(); s.State != supervise.Quarantined {
			t.Errorf("a standby went on taking over: %+v", s)
		}
	})
}

func TestAnEngineWithoutProgressIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Hour)
		p.stuck.Store(true)
		began := time.Now()
		<-r.starts
		if after := time.Since(began); after < 9*time.Second || after > 13*time.Second {
			t.Errorf("replaced after %v", after)
		}
		synctest.Wait()
		if s := r.status(); !strings.Contains(s.Cause, "no progress") || !strings.Contains(s.Cause, "send a greater Heartbeat.progress every second, also on standby") {
			t.Errorf("cause %q", s.Cause)
		}
		r.holders("line")
	})
}

func TestADriverThatTellsNoProgressLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		a := (<-r.starts).attachment()
		for range 100 {
			time.Sleep(time.Second)
			a.to.Heartbeat(0)
		}
		if s := r.status(); s.State != supervise.Active || s.Restarts != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestADriverThatTakesAllLinksOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.make = func(p *fakeProcess) { p.abilities = nil }
		r.want(supervise.Desired{State: state(1, "a", "b"), Instances: 3})
		time.Sleep(time.Second)
		if n := r.holders("a", "b"); len(n) != 1 {
			t.Errorf("links with %v", n)
		}
		p := r.process(r.world.who("a"))
		r.want(supervise.Desired{State: state(2, "a", "b", "c"), Instances: 3})
		time.Sleep(time.Second)
		if n := r.holders("a", "b", "c"); n[p.epoch] != 3 {
			t.Errorf("links with %v", n)
		}
		if p.named.Load() {
			t.Error("it was asked for single links")
		}
	})
}

func TestDisabledIsDrainedAndStoppedWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Second)
		r.want(supervise.Desired{State: state(1, "line"), Disabled: "disabled by the operator"})
		time.Sleep(10 * time.Second)
		s := r.status()
		if !p.wasStopped() || s.State != supervise.Stopped || s.Down == nil || !strings.Contains(s.Down.Text, "disabled by the operator") {
			t.Errorf("stopped %v, status %+v, down %v", p.wasStopped(), s, s.Down)
		}
		if _, err := r.s.Control("fake", "line"); err == nil || !strings.Contains(err.Error(), "disabled by the operator") {
			t.Errorf("control: %v", err)
		}
		r.set(2)
		time.Sleep(time.Second)
		r.holders("line")
	})
}

func TestADriverThatIgnoresDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		links := names(8)
		st := state(1, links...)
		r.want(supervise.Desired{State: st})
		p := <-r.starts
		time.Sleep(time.Second)
		p.hangs.Store(true)
		r.want(supervise.Desired{State: st, Instances: 2})
		time.Sleep(20 * time.Second)
		if n := r.holders(links...); len(n) != 2 {
			t.Errorf("links with %v", n)
		}
		if s := r.status(); s.Restarts != 1 || !p.wasStopped() {
			t.Errorf("stopped %v, status %+v", p.wasStopped(), s)
		}
	})
}

func TestEventsTellEveryTransition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Second)
		p.die("killed")
		time.Sleep(time.Second)
		var path []string
		list, more := r.s.Events(7 << 32) // 7 is the core's epoch
		for i, e := range list {
			if e.Number != 7<<32+uint64(i+1) || e.Driver != "fake" {
				t.Errorf("event %+v", e)
			}
			path = append(path, e.To.String())
		}
		want := "verified starting standby active backing-off verified starting standby active"
		if got := strings.Join(path, " "); got != want {
			t.Errorf("transitions\n%s, want\n%s", got, want)
		}
		if again, _ := r.s.Events(list[len(list)-1].Number); len(again) != 0 {
			t.Errorf("events again: %+v", again)
		}
		r.s.Close(false)
		<-more
		rest, _ := r.s.Events(list[len(list)-1].Number)
		if n := len(rest); n != 2 || rest[n-1].To != supervise.Stopped || !strings.Contains(rest[0].Cause, "stopping") {
			t.Errorf("the last events: %+v", rest)
		}
	})
}

func TestASlowDriverDoesNotHoldUpPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.make = func(*fakeProcess) { r.mu.Unlock(); time.Sleep(time.Minute); r.mu.Lock() }
		defer r.s.Close(false)
		ctx, cancel := withTimeout(t, 2*time.Second)
		defer cancel()
		if _, err := r.s.Prepare(ctx, "fake"); err == nil || !errors.Is(err, ctx.Err()) {
			t.Errorf("Prepare: %v", err)
		}
		r.set(1)
		time.Sleep(2 * time.Minute)
		if r.launches() == 0 {
			t.Error("it was not started")
		}
	})
}
