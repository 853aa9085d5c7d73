package supervise_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// newCore is what the next gateway has: it knows the processes and the spool of the one
// before, which may be nil.
func newCore(t *testing.T, dir string, before *rig, change func(*supervise.Options)) (*rig, *shelf) {
	sh := &shelf{active: "1.0"}
	r := emptyRig(t)
	r.beats = true
	if before != nil {
		r.follow(before)
	}
	r.begin(func(o *supervise.Options) {
		o.Image, o.Records = sh.image, dir
		o.Adopt = func(ctx context.Context, rec supervise.Record) (supervise.Process, error) {
			var known struct{ Epoch uint64 }
			if err := json.Unmarshal(rec.Process, &known); err != nil {
				return nil, err
			}
			p := before.process(known.Epoch)
			if p == nil || isDone(p.done) {
				return nil, fmt.Errorf("process %d: %w", known.Epoch, host.ErrGone)
			}
			if p.strange {
				return nil, fmt.Errorf("process %d: %w", known.Epoch, host.ErrNotTheSame)
			}
			if before.adopting != nil {
				<-before.adopting
			}
			if err := p.lag(ctx); err != nil {
				return nil, err
			}
			return p, nil
		}
		if before != nil {
			o.LastRun = time.Now()
		}
		if change != nil {
			change(o)
		}
	})
	return r, sh
}

func records(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestDetachedProcessesOutliveTheCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		links := names(8)
		st := state(1, links...)
		r, _ := newCore(t, dir, nil, nil)
		r.make = func(p *fakeProcess) { p.granted = 500_000 } // thousands of ports and files
		r.want(supervise.Desired{State: st, Detach: true, Instances: 2, Standby: 1})
		time.Sleep(time.Second)
		before := make(map[string]uint64)
		for _, link := range links {
			before[link] = r.world.who(link)
		}
		first := r.process(before[links[0]])
		a := first.attachment()
		a.frame(1)
		a.frame(2)
		if n := len(records(t, dir)); n != 3 {
			t.Errorf("%d records of three processes", n)
		}
		for _, path := range records(t, dir) {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		r.s.Close(true)
		if !first.wasReleased() || first.wasStopped() || r.world.who(links[0]) == 0 {
			t.Errorf("released %v, stopped %v", first.wasReleased(), first.wasStopped())
		}
		time.Sleep(10 * time.Second)
		next, _ := newCore(t, dir, r, nil)
		if _, err := next.s.Prepare(t.Context(), "fake"); err != nil {
			t.Error(err)
		}
		next.want(supervise.Desired{State: state(1, links...), Detach: true, Instances: 2, Standby: 1})
		time.Sleep(time.Second)
		for _, link := range links {
			if who := r.world.who(link); who != before[link] {
				t.Errorf("link %s was with %d and is with %d", link, before[link], who)
			}
		}
		b := first.attachment()
		if b.hello.ResumeAfter != 2 {
			t.Errorf("hello %+v, want to resume after 2", b.hello)
		}
		b.frame(2)
		b.frame(3)
		next.wantStory(fmt.Sprintf("fake %d/1", first.epoch), fmt.Sprintf("fake %d/2", first.epoch), fmt.Sprintf("fake %d/3", first.epoch))
		s := next.status()
		if next.started() != 0 || len(s.Processes) != 3 || s.Restarts != 0 || s.Gaps != 0 {
			t.Errorf("%d started, status %+v", next.started(), s)
		}
		for _, p := range s.Processes {
			if !p.Adopted || !p.Detached || p.Version != "1.0" {
				t.Errorf("process %+v", p)
			}
		}
		next.s.Close(false)
		if !first.wasStopped() || len(records(t, dir)) != 0 {
			t.Errorf("stopped %v, records %v", first.wasStopped(), records(t, dir))
		}
		r.sane()
	})
}

// The configuration is checked by a process that goes on to run it: it must outlive the
// core as any other.
func TestAPreparedProcessIsDetached(t *testing.T) {
	for _, detach := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			r, _ := newCore(t, dir, nil, func(o *supervise.Options) { o.Detach = func(string) bool { return detach } })
			if _, err := r.s.Prepare(t.Context(), "fake"); err != nil {
				t.Fatal(err)
			}
			r.want(supervise.Desired{State: state(1, "line"), Detach: detach})
			time.Sleep(time.Second)
			if s := r.status(); len(s.Processes) != 1 || s.Processes[0].Detached != detach || (len(records(t, dir)) == 1) != detach || r.started() != 1 {
				t.Errorf("%d started, %d records, want detached %v: %+v", r.started(), len(records(t, dir)), detach, s.Processes)
			}
			r.s.Close(false)
		})
	}
}

func TestAProcessThatDidNotOutliveTheCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		p := r.process(1)
		p.attachment().frame(1)
		r.s.Close(true)
		p.die("killed")
		time.Sleep(10 * time.Second)
		next, _ := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		next.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		next.holders("line")
		next.process(2).attachment().frame(1)
		next.wantStory("fake 1/1", "gap: driver fake: an unknown number of samples: its process ended while the gateway was not running", "fake 2/1")
		if list := records(t, dir); len(list) != 1 || !strings.Contains(next.logged(), "not taken over") {
			t.Errorf("records %v, log:\n%s", list, next.logged())
		}
	})
}

func TestAStrangerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		r.s.Close(true)
		p := r.process(1)
		p.strange = true
		r.world.set("line", 1, false)
		next, _ := newCore(t, dir, r, nil)
		next.want(supervise.Desired{State: state(1, "line")})
		time.Sleep(time.Second)
		if p.wasStopped() || r.world.who("line") != 2 || len(records(t, dir)) != 1 {
			t.Errorf("stopped %v, link with %d, records %v", p.wasStopped(), r.world.who("line"), records(t, dir))
		}
		next.s.Close(false)
		p.die("killed")
	})
}

func TestWhatIsNotWantedAnyMoreIsStoppedAfterTheRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, names(6)...), Detach: true, Instances: 3})
		time.Sleep(time.Second)
		r.s.Close(true)
		next, _ := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		time.Sleep(3 * time.Second) // nobody has said yet what is wanted
		if n := next.holders(names(6)...); len(n) != 3 {
			t.Errorf("links with %v", n)
		}
		next.want(supervise.Desired{State: state(2, names(6)...), Detach: true})
		time.Sleep(20 * time.Second)
		if n := next.holders(names(6)...); len(n) != 1 || next.started() != 0 {
			t.Errorf("with one instance, links with %v, %d started", n, next.started())
		}
		next.s.Set(nil)
		time.Sleep(10 * time.Second)
		for _, p := range r.everyone() {
			if !p.wasStopped() {
				t.Errorf("process %d goes on", p.epoch)
			}
		}
		if n := len(records(t, dir)); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

func TestAnAdoptedProcessOfAnotherVersionIsUpgraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		time.Sleep(time.Second)
		r.s.Close(true)
		next, sh := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		sh.set("2.0")
		next.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		time.Sleep(10 * time.Second)
		for epoch := range next.holders("a", "b") {
			if p := next.process(epoch); p.version != "2.0" || !strings.HasSuffix(p.activations()[0], ":from 1") {
				t.Errorf("links with version %s, %v", p.version, p.activations())
			}
		}
	})
}

func TestNoLinkIsOpenedWhileProcessesAreAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, names(6)...), Detach: true, Instances: 2})
		time.Sleep(time.Second)
		r.s.Close(true)
		r.process(1).strange = true // it is not known whether it has links
		r.adopting = make(chan struct{})
		next, _ := newCore(t, dir, r, nil)
		next.want(supervise.Desired{State: state(1, names(6)...), Detach: true, Instances: 2})
		time.Sleep(3 * time.Second)
		r.process(1).die("killed")
		close(r.adopting)
		time.Sleep(3 * time.Second)
		next.holders(names(6)...)
		next.s.Close(false)
	})
}

func TestUselessRecordsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for name, file := range map[string]struct {
			text string
			mode os.FileMode
		}{
			"a.process.json": {"{", 0o600}, "b.process.json": {`{"kind":"../x","process":{}}`, 0o600},
			"c.process.json": {`{"kind":"fake","member":0,"process":{"epoch":1}}`, 0o644}, "d.process.json": {strings.Repeat(" ", 100_000), 0o600},
			"another.json": {"{}", 0o644}, ".record-1": {"{", 0o600},
		} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
				t.Fatal(err)
			}
		}
		r, _ := newCore(t, dir, newRig(t, nil), nil)
		defer r.s.Close(false)
		if list := records(t, dir); len(list) != 1 || !strings.Contains(list[0], "another") {
			t.Errorf("left: %v", list)
		}
		if n := strings.Count(r.logged(), "useless"); n != 4 {
			t.Errorf("log:\n%s", r.logged())
		}
	})
}

// A gateway that stops while an adopted process is being replaced has nothing to go back
// to: both processes go on as they are, and nobody waits.
func TestStopDuringTheUpgradeOfAnAdoptedProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := newCore(t, dir, nil, nil)
		want := supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Minute}
		r.want(want)
		time.Sleep(time.Second)
		r.s.Close(true)
		next, sh := newCore(t, dir, r, nil)
		sh.set("2.0")
		next.want(want)
		time.Sleep(10 * time.Second)
		if s := next.status(); s.Upgrade == nil || s.Upgrade.Done != 2 {
			t.Fatalf("no upgrade on probation: %+v", s.Upgrade)
		}
		began := time.Now()
		next.s.Close(true)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it stopped after %v", took)
		}
		if holder := r.world.who("a"); holder != 2 || r.process(1).wasStopped() || next.process(2).wasStopped() {
			t.Errorf("link with %d, the old one stopped %v, the new one %v", holder, r.process(1).wasStopped(), next.process(2).wasStopped())
		}
		last, _ := newCore(t, dir, next, nil)
		last.want(want)
		time.Sleep(2 * time.Minute)
		last.holders("a", "b")
		last.s.Close(false)
		r.sane()
	})
}

// A process has links only once a later core could find it: one that was killed before
// would leave it polling, and known to nobody.
func TestNoLinksBeforeTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newCore(t, t.TempDir(), nil, nil)
		recorded := make(chan struct{})
		r.make = func(p *fakeProcess) { p.recorded = recorded }
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		time.Sleep(time.Second)
		p := <-r.starts
		if n := len(p.applies()); n > 0 || r.world.who("line") != 0 {
			t.Errorf("%d states were applied before the record was written", n)
		}
		close(recorded)
		time.Sleep(time.Second)
		if r.world.who("line") == 0 {
			t.Error("the link is closed although the record is written")
		}
		r.s.Close(false)
	})
}
