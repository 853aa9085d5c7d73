package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// image is a version that has a name and no more.
type image string

func (i image) Version() string { return string(i) }
func (i image) Hash() string    { return "hash of " + string(i) }

// IsOf takes what follows a plus for rights.
func (i image) IsOf(hash string) bool {
	own, _, _ := strings.Cut(i.Hash(), "+")
	other, _, _ := strings.Cut(hash, "+")
	return own == other
}

// shelf is the versions that there are.
type shelf struct {
	mu     sync.Mutex
	active string
	gone   map[string]bool
	fault  bool // what is gone was not taken back
}

func (s *shelf) image(_, version string) (supervise.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version == "" {
		version = s.active
	}
	if s.gone[version] && s.fault {
		return nil, driver.Errorf(driver.NotConnected, "the directory cannot be used%w", supervise.ErrImageUnclear)
	}
	if s.gone[version] {
		return nil, driver.Errorf(driver.InvalidConfig, "there is no package of version %s", version)
	}
	return image(version), nil
}

func (s *shelf) set(active string, gone ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.gone = active, make(map[string]bool)
	for _, version := range gone {
		s.gone[version] = true
	}
}

// newShelf is a pool with versions, of which 1.0 is active.
func newShelf(t *testing.T, change func(*supervise.Options)) (*rig, *shelf) {
	sh := &shelf{active: "1.0"}
	r := newPool(t, func(o *supervise.Options) {
		o.Image = sh.image
		if change != nil {
			change(o)
		}
	})
	return r, sh
}

func TestUpgradeMovesLinkByLinkAndThenStopsTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		links := names(10)
		r.want(supervise.Desired{State: state(1, links...), Probation: 10 * time.Second, Standby: 1})
		time.Sleep(time.Second)
		old := r.process(r.world.who(links[0]))
		old.drained.LastSequence = 0
		var steps []supervise.Step
		began := time.Now()
		err := r.s.Upgrade(t.Context(), "fake", "2.0", func(s supervise.Step) { steps = append(steps, s) })
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Second)
		moved := 0
		for _, s := range steps {
			if s.Link != "" {
				moved++
			}
			if s.RolledBack || s.Total != 10 {
				t.Errorf("step %+v", s)
			}
		}
		if moved != 10 || steps[len(steps)-1].Done != 10 {
			t.Errorf("%d links moved in %d steps: %+v", moved, len(steps), steps)
		}
		for epoch := range r.holders(links...) {
			p := r.process(epoch)
			if p.version != "2.0" || len(p.activations()) != 10 || !strings.HasSuffix(p.activations()[0], fmt.Sprintf(":from %d", old.epoch)) {
				t.Errorf("links with version %s, activated %v", p.version, p.activations())
			}
		}
		s := r.status()
		if len(s.Processes) != 2 || s.Version != "2.0" || s.Upgrade != nil || s.Gaps != 0 || !old.wasStopped() {
			t.Errorf("status %+v", s)
		}
		for _, p := range s.Processes {
			if p.Version != "2.0" || p.Next {
				t.Errorf("process %+v", p)
			}
		}
		r.process(r.world.who(links[0])).die("killed")
		time.Sleep(time.Second)
		if v := r.process(r.world.who(links[0])).version; v != "2.0" {
			t.Errorf("after a restart version %s runs", v)
		}
	})
}

func TestUpgradeOfAPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		links := names(12)
		r.want(supervise.Desired{State: state(1, links...), Instances: 3, Probation: time.Second})
		time.Sleep(time.Second)
		for i := range 6 {
			version := fmt.Sprintf("%d.0", 2-i%2)
			if err := r.s.Upgrade(t.Context(), "fake", version, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for epoch := range r.holders(links...) {
				if p := r.process(epoch); p.version != version {
					t.Errorf("upgrade %d: links with version %s", i, p.version)
				}
			}
		}
		time.Sleep(time.Second)
		if s := r.status(); len(s.Processes) != 3 || s.Gaps != 0 || s.Restarts != 0 {
			t.Errorf("status %+v", s)
		}
		if err := r.s.Upgrade(t.Context(), "fake", "1.0", nil); err != nil {
			t.Errorf("to what runs already: %v", err)
		}
	})
}

func TestFramesOfTheOldAreTakenInFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "line"), Probation: time.Second})
		p := <-r.starts
		a := p.attachment()
		p.drained.LastSequence = 2
		p.onDrain = func() {
			p.onDrain = nil
			go func() {
				time.Sleep(2 * time.Second)
				a.frame(1)
				if who := r.world.who("line"); who != 0 {
					t.Errorf("process %d has the link before the old one's last frame", who)
				}
				a.frame(2)
			}()
		}
		if err := r.s.Upgrade(t.Context(), "fake", "2.0", nil); err != nil {
			t.Fatal(err)
		}
		r.holders("line")
	})
}

// bad is the ways in which a new version is bad.
var bad = map[string]struct {
	make func(*fakeProcess)
	late func(*fakeProcess) // on probation
	want string
}{
	"dies at once":           {make: func(p *fakeProcess) { go p.die("aborted") }, want: "aborted"},
	"refuses the state":      {make: func(p *fakeProcess) { p.faults = []*driver.ConfigError{{Link: "a", Text: "too old"}} }, want: "too old"},
	"cannot apply":           {make: func(p *fakeProcess) { p.applyErr = errors.New("no memory") }, want: "no memory"},
	"cannot be attached":     {make: func(p *fakeProcess) { p.attachErr = errors.New("no stream") }, want: "no stream"},
	"is not well":            {make: func(p *fakeProcess) { p.statusErr = errors.New("not well") }, want: "not well"},
	"does not validate":      {make: func(p *fakeProcess) { p.invalid = []*driver.ConfigError{{Link: "a", Text: "a bad key"}} }, want: "a bad key"},
	"does not open":          {make: func(p *fakeProcess) { p.activateErr = errors.New("no port") }, want: "no port"},
	"reads badly":            {make: func(p *fakeProcess) { p.bad = 50 }, want: "50 % of the samples of"},
	"demotes devices":        {make: func(p *fakeProcess) { p.condition = control.Down }, want: "is down, and was up before"},
	"dies on probation":      {late: func(p *fakeProcess) { p.die("killed") }, want: "killed"},
	"hangs on probation":     {late: func(p *fakeProcess) { p.frozen.Store(true) }, want: "no heartbeat"},
	"stands still":           {late: func(p *fakeProcess) { p.stuck.Store(true) }, want: "no progress"},
	"falls silent":           {late: func(p *fakeProcess) { p.mu.Lock(); p.statusErr = errors.New("mute"); p.mu.Unlock() }, want: "mute"},
	"and does not drain too": {late: func(p *fakeProcess) { p.hangs.Store(true); p.mu.Lock(); p.bad = 90; p.mu.Unlock() }, want: "of the samples"},
}

func TestABadVersionIsRolledBack(t *testing.T) {
	for name, way := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := newShelf(t, nil)
				defer r.s.Close(false)
				links := names(6)
				r.want(supervise.Desired{State: state(1, links...), Instances: 2})
				time.Sleep(time.Second)
				before := r.holders(links...)
				if way.make != nil {
					r.mu.Lock()
					r.make = way.make
					r.mu.Unlock()
				}
				var last supervise.Step
				if way.late != nil {
					go func() {
						time.Sleep(20 * time.Second)
						way.late(r.process(3))
					}()
				}
				err := r.s.Upgrade(t.Context(), "fake", "2.0", func(s supervise.Step) { last = s })
				if err == nil || !strings.Contains(err.Error(), way.want) {
					t.Errorf("it ended with %v, want %q", err, way.want)
				}
				if !last.RolledBack || last.Done != 0 {
					t.Errorf("the last step: %+v", last)
				}
				time.Sleep(time.Second)
				after := r.holders(links...)
				if len(after) != 2 || after[1] != before[1] || after[2] != before[2] {
					t.Errorf("links with %v, before with %v", after, before)
				}
				if s := r.status(); len(s.Processes) != 2 || s.Restarts != 0 || s.State != supervise.Active || s.Upgrade != nil {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

// A version is not taken at the end of its probation when nobody knows how it is: the
// last look at it may still be waiting for an answer.
func TestProbationEndsWithAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "line"), Probation: 4 * time.Second})
		time.Sleep(time.Second)
		go func() {
			time.Sleep(2500 * time.Millisecond)
			p := r.process(2)
			p.mu.Lock()
			p.statusErr = errors.New("mute")
			p.mu.Unlock()
		}()
		if err := r.s.Upgrade(t.Context(), "fake", "2.0", nil); err == nil || !strings.Contains(err.Error(), "does not tell its status: mute") {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestASecondUpgradeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sh := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "line")})
		time.Sleep(time.Second)
		var first error
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { first = r.s.Upgrade(ctx, "fake", "2.0", nil) })
		time.Sleep(time.Second)
		if s := r.status(); s.Upgrade == nil || s.Upgrade.Version != "2.0" || s.Upgrade.Done != 1 || s.Upgrade.Text == "" {
			t.Errorf("status %+v", s.Upgrade)
		}
		if err := r.s.Upgrade(t.Context(), "fake", "3.0", nil); driver.CodeOf(err) != driver.Busy {
			t.Errorf("the second: %v", err)
		}
		cancel()
		wg.Wait()
		if !errors.Is(first, context.Canceled) || r.process(r.world.who("line")).version != "1.0" {
			t.Errorf("broken off: %v", first)
		}
		sh.set("1.0", "4.0")
		if err := r.s.Upgrade(t.Context(), "fake", "4.0", nil); err == nil || !strings.Contains(err.Error(), "no package of version 4.0") {
			t.Errorf("without a package: %v", err)
		}
		if err := r.s.Upgrade(t.Context(), "other", "4.0", nil); driver.CodeOf(err) != driver.NotFound {
			t.Errorf("of nothing: %v", err)
		}
		r.holders("line")
	})
}

func TestAConfigurationDuringAnUpgradeReachesBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "a", "b"), Probation: 10 * time.Second})
		time.Sleep(time.Second)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = r.s.Upgrade(t.Context(), "fake", "2.0", nil) })
		time.Sleep(time.Second)
		r.want(supervise.Desired{State: state(2, "b", "c"), Probation: 10 * time.Second})
		time.Sleep(time.Second)
		for _, p := range []*fakeProcess{r.process(1), r.process(2)} {
			list := p.applies()
			if last := list[len(list)-1]; last.Revision != 2 {
				t.Errorf("version %s has revision %d", p.version, last.Revision)
			}
		}
		if n := r.holders("b", "c"); n[2] != 2 || r.world.who("a") != 0 {
			t.Errorf("links with %v, the removed one with %d", n, r.world.who("a"))
		}
		r.process(2).die("killed") // and the old one must have the new state
		wg.Wait()
		if n := r.holders("b", "c"); n[1] != 2 || err == nil {
			t.Errorf("links with %v, %v", n, err)
		}
	})
}

func TestCloseDuringAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		r.want(supervise.Desired{State: state(1, names(5)...)})
		time.Sleep(time.Second)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = r.s.Upgrade(t.Context(), "fake", "2.0", nil) })
		time.Sleep(time.Second)
		r.s.Close(false)
		wg.Wait()
		if err == nil || !strings.Contains(err.Error(), "stopp") {
			t.Errorf("upgrade: %v", err)
		}
		r.sane()
	})
}

// A version whose package is removed while it is being put in force does not get there.
func TestThePackageGoesDuringTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sh := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "a", "b"), Probation: 20 * time.Second})
		time.Sleep(time.Second)
		go func() {
			time.Sleep(3 * time.Second)
			r.s.Refresh() // another package has come
			time.Sleep(3 * time.Second)
			sh.set("1.0", "2.0")
			r.s.Refresh()
		}()
		began := time.Now()
		err := r.s.Upgrade(t.Context(), "fake", "2.0", nil)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "there is no package of version 2.0") || took < 6*time.Second || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		time.Sleep(time.Second)
		if n := r.holders("a", "b"); n[1] != 2 {
			t.Errorf("links with %v", n)
		}
	})
}

func TestTheImageGoesAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sh := newShelf(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Second)
		sh.set("1.0", "1.0")
		r.s.Refresh()
		time.Sleep(10 * time.Second)
		if s := r.status(); !p.wasStopped() || s.State != supervise.Stopped || time.Since(s.Since) < 9*time.Second || s.Since.IsZero() || !s.Lost.Equal(s.Since) || !strings.Contains(s.Cause, "there is no package of version 1.0") {
			t.Errorf("stopped %v, status %+v", p.wasStopped(), s)
		}
		sh.set("1.0")
		r.s.Refresh()
		time.Sleep(time.Second)
		r.holders("line")
		for range 5 {
			r.process(r.world.who("line")).die("segmentation fault")
			time.Sleep(2 * time.Second)
		}
		if s := r.status(); s.State != supervise.Quarantined {
			t.Errorf("status %+v", s)
		}
		sh.set("1.1", "1.0")
		r.s.Refresh()
		time.Sleep(time.Second)
		r.holders("line")
		if s := r.status(); s.Version != "1.1" {
			t.Errorf("version %s runs", s.Version)
		}
	})
}

// Where it is not clear whether the image was taken back what runs goes on.
func TestAnUnclearImageStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sh := newShelf(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Second)
		sh.fault = true
		sh.set("1.0", "1.0")
		r.s.Refresh()
		time.Sleep(time.Minute)
		if s := r.status(); p.wasStopped() || s.State != supervise.Active {
			t.Errorf("stopped %v, status %+v", p.wasStopped(), s)
		}
		if !strings.Contains(r.logged(), "driver process goes on, and cannot be started again") {
			t.Errorf("it is not told:\n%s", r.logged())
		}
	})
}

func TestAMissingImageIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sh := newShelf(t, nil)
		defer r.s.Close(false)
		sh.set("1.0", "1.0")
		r.set(1)
		time.Sleep(time.Hour)
		if s := r.status(); s.State != supervise.BackingOff || !strings.Contains(s.Cause, "no package") || r.launches() != 0 {
			t.Errorf("status %+v", s)
		}
		sh.set("1.0")
		r.s.Refresh()
		synctest.Wait()
		r.holders("line")
	})
}

func TestPrepareTriesADriverInQuarantineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.failWith("exit status 1")
		r.set(1)
		time.Sleep(time.Minute)
		if s := r.status(); s.State != supervise.Quarantined || r.launches() != 5 {
			t.Fatalf("status %+v", s)
		}
		if _, err := r.s.Prepare(t.Context(), "fake"); err == nil || !strings.Contains(err.Error(), "quarantined") {
			t.Errorf("Prepare: %v", err)
		}
		time.Sleep(time.Minute)
		if r.launches() != 6 {
			t.Errorf("%d starts, want one more than five", r.launches())
		}
		r.fail.Store(nil)
		if _, err := r.s.Prepare(t.Context(), "fake"); err != nil {
			t.Error(err)
		}
	})
}

// While a version is on probation the way back is there at once, and not taken twice.
func TestTakenBackDuringProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		links := names(6)
		r.want(supervise.Desired{State: state(1, links...), Instances: 2, Probation: time.Hour})
		time.Sleep(time.Second)
		before := r.holders(links...)
		if version, err := r.s.TakeBack(t.Context(), "fake", func(supervise.Step) {}); version != "" || err != nil {
			t.Errorf("without an upgrade: %q, %v", version, err)
		}
		var upgraded error
		var wg sync.WaitGroup
		wg.Go(func() { upgraded = r.s.Upgrade(t.Context(), "fake", "2.0", nil) })
		time.Sleep(time.Minute)
		if runs := r.s.Runs("fake"); len(runs) != 4 || runs[0] != (supervise.Run{Version: "1.0", Hash: "hash of 1.0"}) || runs[2].Version != "2.0" || runs[2].Links == 0 {
			t.Errorf("on probation there run %v", runs)
		}
		var last supervise.Step
		began := time.Now()
		version, err := r.s.TakeBack(t.Context(), "fake", func(s supervise.Step) { last = s })
		if version != "2.0" || err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("taken back: %q, %v after %v", version, err, time.Since(began))
		}
		if !last.RolledBack || last.Done != 0 {
			t.Errorf("the last step: %+v", last)
		}
		wg.Wait()
		if upgraded == nil || !strings.Contains(upgraded.Error(), "taken back by the operator; everything is as before") {
			t.Errorf("the upgrade ended with %v", upgraded)
		}
		time.Sleep(time.Second)
		if after := r.holders(links...); len(after) != 2 || after[1] != before[1] || after[2] != before[2] {
			t.Errorf("links with %v, before with %v", after, before)
		}
	})
}

// A negative probation is none: the new version is in force once it has all links.
func TestNoProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "line"), Probation: -1})
		time.Sleep(time.Second)
		began := time.Now()
		if err := r.s.Upgrade(t.Context(), "fake", "2.0", nil); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Second)
		if runs := r.s.Runs("fake"); len(runs) != 1 || runs[0].Version != "2.0" || runs[0].Links != 1 {
			t.Errorf("there run %v", runs)
		}
	})
}

// Processes that get other rights and execute what ran before are not on probation, so
// that the next that need others do not wait for its end.
func TestOtherRightsNeedNoProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, names(5)...), Probation: time.Hour})
		time.Sleep(time.Second)
		began := time.Now()
		for _, version := range []string{"1.0+tty", "1.0+another tty", "1.0"} {
			if err := r.s.Upgrade(t.Context(), "fake", version, nil); err != nil {
				t.Fatalf("%s: %v", version, err)
			}
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("three times other rights took %v", took)
		}
		ended := make(chan error, 1)
		go func() { ended <- r.s.Upgrade(t.Context(), "fake", "1.1", nil) }()
		time.Sleep(30 * time.Minute)
		select {
		case err := <-ended:
			t.Errorf("another executable was on no probation: %v", err)
		default:
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
