package supervise_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A driver that no link used for a while was not wanted: nothing was lost of it, and
// least of all because the gateway was not running.
func TestADriverThatComesBackHasLostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, func(o *supervise.Options) { o.LastRun = time.Now().Add(-time.Hour) })
		defer r.s.Close(false)
		r.set(1)
		(<-r.starts).attachment().frame(1)
		r.s.Set(nil)
		time.Sleep(time.Hour)
		r.set(2)
		(<-r.starts).attachment().frame(1)
		r.wantStory("fake 1/1", "fake 2/1")
	})
}

// The lines of a driver are kept, and followed, while no link uses it.
func TestLinesOutliveThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.set(1)
		<-r.starts
		_, f, err := r.s.Follow("fake", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r.s.Set(nil)
		time.Sleep(time.Minute)
		r.set(2)
		<-r.starts
		r.spec(1).OnLine(host.Line{Text: "hello"})
		ctx, cancel := withTimeout(t, time.Second)
		defer cancel()
		if got, _, err := f.Next(ctx); err != nil || got.Text != "hello" {
			t.Errorf("followed %q, %v", got.Text, err)
		}
	})
}

// The end of one upgrade is not the end of the next, which may begin as soon as the
// first is in force.
func TestTheEndOfAnUpgradeLeavesTheNextAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "a", "b"), Probation: 5 * time.Second})
		time.Sleep(time.Second)
		var second error
		var work sync.WaitGroup
		err := r.s.Upgrade(t.Context(), "fake", "2.0", func(s supervise.Step) {
			if strings.Contains(s.Text, "is in force") {
				work.Go(func() { second = r.s.Upgrade(t.Context(), "fake", "3.0", nil) })
				time.Sleep(2 * time.Second) // whoever reads the steps is slow
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := r.status(); s.Upgrade == nil || len(s.Processes) != 2 {
			t.Errorf("in the middle of the second: %+v, %d processes", s.Upgrade, len(s.Processes))
		}
		if err := r.s.Upgrade(t.Context(), "fake", "4.0", nil); driver.CodeOf(err) != driver.Busy {
			t.Errorf("a third: %v", err)
		}
		work.Wait()
		if v := r.process(r.world.who("a")).version; second != nil || v != "3.0" {
			t.Errorf("version %s, %v", v, second)
		}
		r.holders("a", "b")
	})
}

// What the operator takes off line during the probation says nothing of the version.
func TestOffLineDuringProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		r.want(supervise.Desired{State: state(1, "a", "b"), Probation: 20 * time.Second})
		time.Sleep(time.Second)
		go func() {
			time.Sleep(3 * time.Second)
			p := r.process(2)
			p.mu.Lock()
			p.offline = map[string]bool{"a": true}
			p.mu.Unlock()
			time.Sleep(6 * time.Second)
			p.mu.Lock()
			p.offline = nil
			p.bad = 30 // the Bad samples of the time off line are counted
			p.mu.Unlock()
		}()
		if err := r.s.Upgrade(t.Context(), "fake", "2.0", nil); err == nil || !strings.Contains(err.Error(), "b/m1 are Bad") {
			t.Errorf("only link b has become worse: %v", err)
		}
	})
}

// More instances during the probation get the new version too.
func TestMoreInstancesDuringProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newShelf(t, nil)
		defer r.s.Close(false)
		links := names(12)
		st := state(1, links...)
		d := supervise.Desired{State: st, Probation: 10 * time.Second}
		r.want(d)
		time.Sleep(time.Second)
		go func() {
			time.Sleep(3 * time.Second)
			d.Instances = 3
			r.want(d)
		}()
		if err := r.s.Upgrade(t.Context(), "fake", "2.0", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n := r.holders(links...)
		if len(n) != 3 {
			t.Errorf("links with %v", n)
		}
		for epoch := range n {
			if v := r.process(epoch).version; v != "2.0" {
				t.Errorf("process %d is of version %s", epoch, v)
			}
		}
	})
}

// A gateway that stops does not wait for links that go on in processes that it lets go.
func TestLettingGoDuringAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Minute})
		time.Sleep(time.Second)
		var err error
		var work sync.WaitGroup
		work.Go(func() { err = r.s.Upgrade(t.Context(), "fake", "2.0", nil) })
		time.Sleep(5 * time.Second)
		began := time.Now()
		r.s.Close(true)
		work.Wait()
		if took := time.Since(began); took > time.Second || err == nil {
			t.Errorf("it took %v to stop, and the upgrade ended with %v", took, err)
		}
		next, sh := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		sh.set("1.0")
		next.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		time.Sleep(20 * time.Second)
		for epoch := range next.holders("a", "b") {
			if p := next.process(epoch); p.version != "1.0" {
				t.Errorf("links with version %s, which was never confirmed", p.version)
			}
		}
	})
}

// What an adopted process had and could not give is a gap.
func TestAnAdoptedProcessThatIsOfNoUse(t *testing.T) {
	for name, spoil := range map[string]func(*fakeProcess){
		"attach": func(p *fakeProcess) { p.attachErr = errors.New("no stream") },
		"status": func(p *fakeProcess) { p.statusErr = errors.New("no status") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				r, _ := newCore(t, dir, nil, nil)
				r.want(supervise.Desired{State: state(1, "line"), Detach: true})
				time.Sleep(time.Second)
				p := r.process(1)
				p.attachment().frame(1)
				r.s.Close(true)
				spoil(p)
				next, _ := newCore(t, dir, r, nil)
				defer next.s.Close(false)
				next.want(supervise.Desired{State: state(1, "line"), Detach: true})
				time.Sleep(10 * time.Second)
				next.holders("line")
				next.process(2).attachment().frame(1)
				if s := next.spool.story(); len(s) != 3 || !strings.Contains(s[1], "gap: ") || !strings.Contains(s[1], "no "+map[string]string{"attach": "stream", "status": "status"}[name]) {
					t.Errorf("in the spool: %q", s)
				}
			})
		})
	}
}

// What a detached process has read without a gateway is taken in also when no link uses
// its driver any more.
func TestWhatIsStoppedAfterTheRestartGivesWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		p := r.process(1)
		p.attachment().frame(1)
		r.s.Close(true)
		p.drained.LastSequence = 3
		p.onDrain = func() {
			select {
			case a := <-p.attached:
				a.frame(2)
				a.frame(3)
			default:
			}
		}
		r.adopting = make(chan struct{})
		next, _ := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		next.s.Set(nil)
		close(r.adopting)
		time.Sleep(time.Minute)
		next.wantStory("fake 1/1", "fake 1/2", "fake 1/3")
		if !p.wasStopped() {
			t.Error("it goes on")
		}
	})
}

// Frames that a process cannot give in the time that its end may take are a gap.
func TestAnEndThatIsCutShortIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		r.set(1)
		p := <-r.starts
		p.attachment().frame(1)
		p.drained.LastSequence = 9
		r.s.Close(false)
		if s := r.spool.story(); len(s) != 2 || !strings.Contains(s[1], "gap: driver fake: an unknown number of samples: ") || !strings.Contains(s[1], "frames 2 to 9") {
			t.Errorf("in the spool: %q", s)
		}
	})
}

// A process without a record would not be found by the next gateway, and poll beside its
// successor: it is not let go.
func TestAProcessWithoutARecordIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r, _ := newCore(t, filepath.Join(dir, "run"), nil, nil)
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		p := r.process(1)
		r.s.Close(true)
		if p.wasReleased() || !p.wasStopped() {
			t.Errorf("released %v, stopped %v; log:\n%s", p.wasReleased(), p.wasStopped(), r.logged())
		}
	})
}

// A core that was killed in the middle of an upgrade leaves processes of a version that was
// never in force. The next one does not start it again, whatever becomes of them.
func TestAVersionThatWasNotInForceIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Minute})
		time.Sleep(time.Second)
		var work sync.WaitGroup
		work.Go(func() { _ = r.s.Upgrade(t.Context(), "fake", "2.0", nil) }) // it is broken off
		time.Sleep(5 * time.Second)
		r.s.Close(true)
		work.Wait()
		r.process(1).die("killed")
		next, _ := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		next.failWith("short of memory")
		next.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		time.Sleep(2 * time.Second) // the way back to 1.0 has failed
		next.fail.Store(nil)
		r.process(2).die("killed")
		time.Sleep(20 * time.Second)
		for epoch := range next.holders("a", "b") {
			if v := next.process(epoch).version; v != "1.0" {
				t.Errorf("links with version %s", v)
			}
		}
	})
}
