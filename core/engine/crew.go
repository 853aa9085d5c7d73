package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A crew is the runners of one link, and how they wait for work. The link's lock, which it
// is given, guards it, but for turns.
type crew struct {
	lock    sync.Locker
	runners []*runner
	idle    int
	wake    chan struct{}
	timer   *time.Timer
	timed   bool  // a runner waits on the timer ...
	until   int64 // ... for this

	abandoned int           // calls that never returned
	turns     atomic.Uint64 // calls begun
}

func (c *crew) init(lock sync.Locker) {
	c.lock, c.wake, c.timer = lock, make(chan struct{}, 1), time.NewTimer(time.Hour)
	c.timer.Stop()
}

// start adds a runner.
func (c *crew) start(r *runner) {
	r.next = r.goesOn
	c.runners = append(c.runners, r)
	go r.run()
}

// drop takes a runner off the list.
func (c *crew) drop(r *runner) { c.runners = without(c.runners, r) }

// calls counts the driver calls in flight.
func (c *crew) calls() int {
	n := 0
	for _, r := range c.runners {
		if r.running {
			n++
		}
	}
	return n
}

// surplus reports whether a runner without a call should end: another that has none
// is there, because one in a call may be held in it until the link is closed.
func (c *crew) surplus(wanted int) bool {
	return wanted == 0 || len(c.runners) > wanted && len(c.runners)-c.calls() > 1
}

// hanging finds a runner whose call should have returned; nil: there is none.
func (c *crew) hanging(now int64) *runner {
	for _, r := range c.runners {
		if r.running && now >= r.hangAt {
			return r
		}
	}
	return nil
}

// signal wakes one runner to look again.
func (c *crew) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// wait lets the lock go until the time on the grid, or until something changed.
// Only one runner at a time waits on the timer.
func (c *crew) wait(now, until int64) {
	c.idle++
	leads := !c.timed && until != never
	if leads || c.timed && until < c.until {
		c.timed, c.until = true, until
		c.timer.Reset(time.Duration(until - now))
	}
	c.lock.Unlock()
	if leads {
		select {
		case <-c.timer.C:
		case <-c.wake:
			c.timer.Stop()
		}
	} else {
		<-c.wake
	}
	c.lock.Lock()
	if leads {
		c.timed = false
	}
	c.idle--
}

// stackEvery is how often the stack of a panic that comes again is logged.
const stackEvery = time.Hour

// panics are those of one link's driver. The same one is logged only now and then: each of
// them is the cause of a condition besides. The link's lock guards it.
type panics struct {
	clock *clock
	log   *slog.Logger
	last  string // the text of the one that was logged last, ...
	at    int64  // ... and when, on the grid
	more  uint64 // how many have not been logged since
}

// fault makes a fault of a call's error, and logs the stack of a panic.
func (p *panics) fault(err error, device string) *driver.Error {
	if err == nil {
		return nil
	}
	var e *panicError
	if !errors.As(err, &e) {
		return driver.AsError(err)
	}
	level := slog.LevelError
	if now := p.clock.now(); p.last == e.fault.Text && now-p.at < int64(stackEvery) {
		level = slog.LevelDebug
		p.more++
	} else {
		p.last, p.at = e.fault.Text, now
	}
	p.log.Log(context.Background(), level, "driver panicked", "device", device, "err", e.fault,
		"before", p.more, "stack", string(e.stack))
	if level == slog.LevelError {
		p.more = 0
	}
	return e.fault
}
