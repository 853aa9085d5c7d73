// Package procs keeps the number of processors that a process's Go code runs on at
// what its load needs.
//
// A process that wakes for a few milliseconds at every slot and sleeps in between
// spends much of its CPU on waking threads that find nothing to do: each goroutine
// that becomes ready wakes one, as long as a processor is idle. On one processor
// there is none. See docs/adr/0004-wake-ups.md.
package procs

import (
	"context"
	"os"
	"runtime"
	"time"
)

const (
	every = time.Second
	// busy is the share of one processor from which on one may not be enough, and
	// calm what must not have been exceeded for quiet looks in a row to go back to one.
	busy  = 0.5
	calm  = 0.25
	quiet = 5
)

// Fit gives the process one processor while it is calm, and all that it may have as
// soon as it is busy, until ctx is done. It does nothing where there is one anyway, or
// where GOMAXPROCS in the environment says how many. It is for a process's main.
func Fit(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	tick := time.NewTicker(every)
	defer tick.Stop()
	f := fitter{at: time.Now(), used: used()}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		switch f.look(time.Now(), used()) {
		case one:
			runtime.GOMAXPROCS(1)
		case all:
			runtime.SetDefaultGOMAXPROCS()
		}
	}
}

type verdict int

const (
	stay verdict = iota
	one
	all
)

// A fitter judges the use of CPU between looks.
type fitter struct {
	at     time.Time
	used   time.Duration // CPU so far
	single bool
	calm   int // looks in a row
}

func (f *fitter) look(now time.Time, used time.Duration) verdict {
	share := float64(used-f.used) / float64(max(now.Sub(f.at), 1))
	f.at, f.used = now, used
	switch {
	case share > calm:
		f.calm = 0
	case !f.single:
		f.calm++
	}
	switch {
	case f.single && share > busy:
		f.single = false
		return all
	case !f.single && f.calm >= quiet:
		f.single, f.calm = true, 0
		return one
	}
	return stay
}
