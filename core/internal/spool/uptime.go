package spool

import (
	"sync"
	"time"
)

// clockSteady is how long the clock has to keep the time of the opening before the time
// that the spool was closed counts.
const clockSteady = time.Hour

// clockWidth is how much a clock may be corrected and is still the same.
const clockWidth = time.Minute

// uptime is how long the spool has run, in this process and before, by a clock that nobody can
// set. Age is measured by it: a wall clock that jumps ahead makes nothing old. The time between
// two processes is only known from the wall clock; it counts once that has kept its time for an
// hour.
//
// mu guards all of it; now may be called concurrently.
type uptime struct {
	mu      sync.Mutex
	before  time.Duration // of earlier processes
	opened  time.Time
	closed  time.Duration // since the last record before, by the wall clock
	stepped bool          // the clock was set within the first hour
}

// now gives the time that has passed.
func (u *uptime) now() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	run := now.Sub(u.opened)
	if run < clockSteady {
		if wall := now.Round(0).Sub(u.opened.Round(0)); (wall - run).Abs() > clockWidth {
			u.stepped = true
		}
		return u.before + run
	}
	if u.closed > 0 {
		if wall := now.Round(0).Sub(u.opened.Round(0)); !u.stepped && (wall-run).Abs() <= clockWidth {
			u.before += u.closed
		}
		u.closed = 0
	}
	return u.before + run
}

// begin goes on counting where the last process ended: it had run for before, and its last
// record was stored at newest.
func (u *uptime) begin(before time.Duration, newest time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.before, u.opened = before, time.Now()
	if !newest.IsZero() {
		u.closed = max(0, u.opened.Sub(newest))
	}
}
