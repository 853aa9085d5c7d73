package supervise_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A process that has read for minutes without a gateway gives all that before its links
// go to another version: to be waited for with its links closed, and killed for its
// slowness, would cost it.
func TestABacklogIsTakenInBeforeLinksMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		r, _ := newCore(t, dir, nil, nil)
		r.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		time.Sleep(time.Second)
		p := r.process(1)
		p.attachment()
		r.s.Close(true)
		p.read, p.drained.LastSequence = 10, 10
		next, sh := newCore(t, dir, r, nil)
		defer next.s.Close(false)
		sh.set("2.0")
		next.want(supervise.Desired{State: state(1, "a", "b"), Detach: true, Probation: time.Second})
		a := p.attachment()
		for seq := range uint64(10) {
			time.Sleep(3 * time.Second) // it is much, and the disk is slow
			if n := next.holders("a", "b"); n[1] != 2 {
				t.Fatalf("before frame %d the links are with %v", seq+1, n)
			}
			a.frame(seq + 1)
		}
		time.Sleep(5 * time.Second)
		if n := next.holders("a", "b"); n[2] != 2 {
			t.Errorf("links with %v", n)
		}
		if s := next.spool.story(); len(s) != 10 || strings.Contains(strings.Join(s, " "), "gap") {
			t.Errorf("in the spool: %q", s)
		}
	})
}

// While the spool takes nothing no link is drained, and a drain that has begun goes on as
// soon as it does: a process is not killed for what is the core's fault.
func TestNoLinkMovesWhileTheSpoolIsFull(t *testing.T) {
	for name, when := range map[string]time.Duration{"before": 0, "in the middle": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := newShelf(t, nil)
				defer r.s.Close(false)
				r.want(supervise.Desired{State: state(1, "line"), Probation: time.Second})
				p := <-r.starts
				a := p.attachment()
				a.frame(1)
				p.drained.LastSequence = 3
				full := make(chan struct{})
				send := func() {
					r.spool.mu.Lock()
					r.spool.hold = full
					r.spool.mu.Unlock()
					go func() {
						a.frame(2)
						a.frame(3)
					}()
				}
				if when == 0 {
					send()
					time.Sleep(2 * time.Second)
				} else {
					p.onDrain = func() { p.onDrain = nil; send() }
				}
				ended := make(chan error, 1)
				go func() { ended <- r.s.Upgrade(t.Context(), "fake", "2.0", nil) }()
				time.Sleep(time.Minute)
				if p.wasStopped() {
					t.Error("the process was stopped with what it had")
				}
				if who := r.world.who("line"); when == 0 && who != 1 {
					t.Errorf("the link is with %d", who)
				}
				close(full)
				if err := <-ended; err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Second)
				if who := r.world.who("line"); who != 2 {
					t.Errorf("in the end the link is with %d", who)
				}
				r.wantStory("fake 1/1", "fake 1/2", "fake 1/3")
			})
		})
	}
}

// A driver that says in Drain that it has what it has not, and trickles, holds up the end for
// a bounded time, and it is told which it was.
func TestAnEndIsNotHeldUp(t *testing.T) {
	hold := func(p *fakeProcess, a *fakeAttachment) {
		p.drained.LastSequence = 1 << 40
		p.onDrain = func() {
			go func() {
				for seq := uint64(1); !isDone(a.done); seq++ {
					time.Sleep(4 * time.Second)
					a.frame(seq)
				}
			}()
		}
	}
	hang := func(p *fakeProcess, _ *fakeAttachment) { p.hangs.Store(true) }
	lag := func(p *fakeProcess, _ *fakeAttachment) {
		p.slow = func() time.Duration { return 10 * time.Minute } // also in Apply, which is in hand
	}
	for name, does := range map[string]func(*fakeProcess, *fakeAttachment){"trickles": hold, "hangs in Drain": hang, "hangs in Apply": lag} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newPool(t, nil)
				r.set(1)
				p := <-r.starts
				a := p.attachment()
				time.Sleep(time.Second)
				does(p, a)
				if name == "hangs in Apply" {
					r.set(2)
					synctest.Wait()
				}
				began := time.Now()
				r.s.Close(false)
				took := time.Since(began)
				if name == "hangs in Apply" {
					took -= 10 * time.Minute // which the fake lags at its end
				}
				time.Sleep(5 * time.Second) // it trickles no more
				if took > 30*time.Second || !p.wasStopped() {
					t.Errorf("Close took %v, stopped %v", took, p.wasStopped())
				}
				if name != "hangs in Apply" && !strings.Contains(r.logged(), "driver process is killed: it did not give all that it had before its end") {
					t.Errorf("it is not told:\n%s", r.logged())
				}
			})
		})
	}
}

// A detached process that hangs in a call does not hold up the core's end either, and goes on.
func TestLettingGoDoesNotWaitForACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		r.want(supervise.Desired{State: state(1, "line"), Detach: true})
		p := <-r.starts
		p.attachment()
		time.Sleep(time.Second)
		p.slow = func() time.Duration { return 10 * time.Minute }
		r.want(supervise.Desired{State: state(2, "line"), Detach: true})
		synctest.Wait()
		began := time.Now()
		r.s.Close(true)
		if took := time.Since(began); took > 10*time.Second || !p.wasReleased() || p.wasStopped() {
			t.Errorf("Close took %v, released %v, stopped %v", took, p.wasReleased(), p.wasStopped())
		}
	})
}

// What is to be stopped may go on giving what it has as long as it does.
func TestAnEndTakesItsTimeWhileFramesCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		p.drained.LastSequence = 5
		p.onDrain = func() {
			go func() {
				for seq := range uint64(5) {
					time.Sleep(3 * time.Second)
					a.frame(seq + 1)
				}
			}()
		}
		r.s.Close(false)
		r.wantStory("fake 1/1", "fake 1/2", "fake 1/3", "fake 1/4", "fake 1/5")
	})
}
