package supervise_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// TestWhateverHappens lets drivers die, hang and be bad, operators and cores come and
// go, and wants that no link is ever open twice, that in the end each is open, and
// that nothing is left when the supervisor is closed.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.SampledFrom(actNames), 1, 25).Draw(rt, "acts")
		seed := rapid.Uint64().Draw(rt, "seed")
		dir := t.TempDir()
		var found []string
		synctest.Test(t, func(t *testing.T) { found = play(t, dir, acts, seed) })
		if len(found) > 0 {
			rt.Fatal(strings.Join(found, "\n"))
		}
	})
}

var actNames = []string{"die", "die", "freeze", "stick", "deaf", "set", "set", "upgrade", "upgrade", "bad upgrade", "enable", "cancel",
	"core", "core", "kill core", "wait", "wait", "wait long", "disable", "vanish"}

// player plays what happens.
type player struct {
	t        *testing.T
	r        *rig
	sh       *shelf
	dir      string
	random   *rand.Rand
	desired  supervise.Desired
	revision uint64
	upgrades sync.WaitGroup
	cancel   func()
}

func play(t *testing.T, dir string, acts []string, seed uint64) (found []string) {
	p := &player{t: t, dir: dir, random: rand.New(rand.NewPCG(seed, 1)), cancel: func() {}}
	p.r, p.sh = newCore(t, dir, nil, nil)
	p.r.make = p.slow
	p.set()
	for _, act := range acts {
		p.act(act)
		synctest.Wait()
	}
	for _, f := range p.r.everyone() { // whatever is left of the trouble ends by itself
		f.hangs.Store(false)
	}
	p.desired.Disabled = ""
	p.set()
	time.Sleep(20 * time.Minute) // upgrades and their probations
	if err := p.r.s.Enable("fake"); err != nil {
		found = append(found, err.Error())
	}
	time.Sleep(5 * time.Minute)
	p.upgrades.Wait()
	synctest.Wait()
	for _, l := range p.desired.State.Links {
		if p.r.theWorld().who(l.Name) == 0 {
			found = append(found, "link "+l.Name+" is closed")
		}
	}
	if len(found) > 0 {
		found = append(found, fmt.Sprintf("%+v", p.r.status()))
	}
	p.r.s.Close(false)
	found = append(found, p.r.theWorld().wrong...)
	for link, who := range p.r.theWorld().holder {
		found = append(found, fmt.Sprintf("link %s is open in process %d after all", link, who))
	}
	for line := range strings.Lines(p.r.logged()) {
		if strings.Contains(line, "does not follow") {
			found = append(found, line)
		}
	}
	if n := len(records(t, dir)); n > 0 {
		found = append(found, fmt.Sprintf("%d records are left", n))
	}
	return found
}

// slow makes a process that takes its time over everything.
func (p *player) slow(f *fakeProcess) {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(f.epoch, 2))
	f.slow = func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.IntN(300)) * time.Millisecond
	}
}

// some is a process that lives; nil: there is none.
func (p *player) some() *fakeProcess {
	var alive []*fakeProcess
	for _, f := range p.r.everyone() {
		if !isDone(f.done) {
			alive = append(alive, f)
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return alive[p.random.IntN(len(alive))]
}

func (p *player) set() {
	p.revision++
	p.desired.State = &control.State{Revision: p.revision}
	for i := range 6 {
		if i == 0 || p.random.IntN(3) > 0 {
			p.desired.State.Links = append(p.desired.State.Links, control.Link{Name: fmt.Sprintf("line%d", i), Devices: []control.Device{{Name: "m1"}}})
		}
	}
	p.desired.Instances, p.desired.Standby = 1+p.random.IntN(3), p.random.IntN(2)
	p.desired.Detach = p.random.IntN(3) > 0
	p.desired.Probation = time.Duration(1+p.random.IntN(90)) * time.Second
	p.r.want(p.desired)
}

func (p *player) act(name string) {
	victim := p.some()
	switch name {
	case "set":
		p.desired.Disabled = ""
		p.set()
	case "disable":
		p.desired.Disabled = "by the test"
		p.set()
	case "vanish":
		p.r.s.Set(nil)
	case "upgrade":
		p.upgrade(nil)
	case "bad upgrade":
		p.upgrade(p.bad())
	case "cancel":
		p.cancel()
	case "enable":
		_ = p.r.s.Enable("fake") // there may be no driver just now
	case "core":
		p.core(true)
	case "kill core":
		p.core(p.random.IntN(2) == 0)
	case "wait":
		time.Sleep(time.Duration(p.random.IntN(3000)) * time.Millisecond)
	case "wait long":
		time.Sleep(time.Duration(p.random.IntN(120)) * time.Second)
	}
	if victim == nil {
		return
	}
	switch name {
	case "die":
		victim.die("killed")
	case "freeze":
		victim.frozen.Store(true)
	case "stick":
		victim.stuck.Store(true)
	case "deaf":
		victim.hangs.Store(true)
	}
}

// bad is one of the ways in which a version is bad.
func (p *player) bad() func(*fakeProcess) {
	var ways []func(*fakeProcess)
	for _, name := range []string{"dies at once", "refuses the state", "cannot apply", "cannot be attached", "is not well", "does not open", "reads badly"} {
		ways = append(ways, bad[name].make)
	}
	return ways[p.random.IntN(len(ways))]
}

func (p *player) upgrade(way func(*fakeProcess)) {
	version := fmt.Sprintf("%d.0", 1+p.random.IntN(2))
	if way != nil {
		version = "0.9"
	}
	p.r.mu.Lock()
	p.r.make = func(f *fakeProcess) {
		p.slow(f)
		if way != nil && f.version == "0.9" {
			way(f)
		}
	}
	p.r.mu.Unlock()
	r := p.r
	ctx, cancel := withTimeout(p.t, time.Hour)
	p.cancel = cancel
	p.upgrades.Go(func() {
		defer cancel()
		if r.s.Upgrade(ctx, "fake", version, nil) == nil {
			p.sh.set(version)
		}
	})
}

// core ends the core, and starts the next.
func (p *player) core(keep bool) {
	p.r.s.Close(keep)
	p.upgrades.Wait()
	p.r, p.sh = newCore(p.t, p.dir, p.r, nil)
	p.r.mu.Lock()
	p.r.make = p.slow
	p.r.mu.Unlock()
	if p.random.IntN(2) == 0 {
		time.Sleep(time.Second)
	}
	p.r.want(p.desired)
}
