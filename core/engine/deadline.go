package engine

import (
	"context"
	"sync"
	"time"
)

// A deadline is a context that costs no timer unless its Done or Err is asked for:
// most drivers only take the time from it, for a connection's own deadline.
type deadline struct {
	context.Context
	at     time.Time
	mu     sync.Mutex
	armed  context.Context
	cancel context.CancelFunc
	over   bool
}

func newDeadline(parent context.Context, at time.Time) *deadline {
	return &deadline{Context: parent, at: at}
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} { return d.arm().Done() }

func (d *deadline) Err() error { return d.arm().Err() }

// Value goes by the armed context, so that what is derived from this one is
// cancelled by it without a goroutine.
func (d *deadline) Value(key any) any { return d.arm().Value(key) }

func (d *deadline) arm() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed == nil {
		d.armed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.over {
			d.cancel()
		}
	}
	return d.armed
}

// end cancels the context: the call is over.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}
