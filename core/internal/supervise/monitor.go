package supervise

import (
	"context"
	"sync"
	"time"
)

// monitor is the lock of a pool. What the lock guards is changed in do, which starts what
// follows from the change and wakes who waits in until. Operations, which take time, run
// beside it: each counts in work while it runs.
type monitor struct {
	follow   func()          // starts what follows from a change; constant, as are those to the next blank line
	ctx      context.Context // of every operation; done once they are not worth waiting for
	cancel   context.CancelFunc
	hurry    context.Context // of an operation of a process; done a while after the pool is closed
	hurryNow context.CancelFunc
	work     sync.WaitGroup // operations

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	ending  bool          // nothing is left to do
}

// open makes the monitor usable. follow is called with the lock held.
func (m *monitor) open(follow func()) {
	m.follow, m.changed = follow, make(chan struct{})
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.hurry, m.hurryNow = context.WithCancel(m.ctx)
}

// do makes a change and starts what follows from it. It is false, and f is not
// called, when the pool has ended.
func (m *monitor) do(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ending {
		return false
	}
	f()
	m.follow()
	close(m.changed)
	m.changed = make(chan struct{})
	return true
}

// until waits until a condition, which is looked at with the lock held, is met.
func (m *monitor) until(ctx context.Context, met func() bool) error {
	for {
		m.mu.Lock()
		ok, changed := met(), m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// at is a condition that is met at a time. It makes sure that somebody looks.
func (m *monitor) at(when time.Time) func() bool {
	time.AfterFunc(time.Until(when), func() { m.do(func() {}) })
	return func() bool { return !time.Now().Before(when) }
}
