package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// SetSkew moves an engine's grid away from the wall clock, as a step of the latter
// does. It must have no links.
func SetSkew(e *Engine, d time.Duration) { e.clock.origin += int64(d) }

// DueSlot tells in which period of its grid a time lies.
func DueSlot(at time.Time, link, device, class string, period time.Duration) int64 {
	return (at.UnixNano() - control.NewGrid(period, link, device, class).Phase) / int64(period)
}

// LoseTimer has a link's scheduler wait for ever for its next due time.
func LoseTimer(e *Engine, name string) {
	l, _ := e.links.find(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crew.timer.Stop()
}
