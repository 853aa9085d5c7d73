package control

import (
	"hash/fnv"
	"time"
)

const (
	minSlot = time.Millisecond
	// maxSlot keeps the wake-ups of every class of a second and more on the same
	// instants, twenty a second in all.
	maxSlot = 50 * time.Millisecond
	// firstPoll bounds the wait for the first poll of a class with a long period.
	firstPoll = time.Second
)

// A Grid is the due times of one scan class of one device: every period, at a phase that
// depends on nothing but names, so that a change of the configuration shifts nobody. Phases are
// whole slots of a twentieth of the period, at least 1 ms and at most 50 ms: the polls of a
// slot start together on all links, and the wake-ups are few.
type Grid struct {
	Period, Phase int64 // nanoseconds; a Period of 0: no due times, the next poll starts when the last has ended
}

// NewGrid returns the grid of a scan class of a device.
func NewGrid(period time.Duration, link, device, class string) Grid {
	if period <= 0 {
		return Grid{}
	}
	slot := int64(min(max(period/20, minSlot), maxSlot))
	slots := max(int64(period)/slot, 1)
	h := fnv.New64a()
	for _, name := range [...]string{link, device, class} {
		_, _ = h.Write([]byte(name)) // a hash takes everything
		_, _ = h.Write([]byte{0})
	}
	return Grid{Period: int64(period), Phase: int64(h.Sum64()%uint64(slots)) * slot}
}

// Shifted returns the grid later by shift nanoseconds: that of a link which came from a process
// whose clock differs by as much.
func (g Grid) Shifted(shift int64) Grid {
	if g.Period > 0 {
		g.Phase = ((g.Phase+shift)%g.Period + g.Period) % g.Period
	}
	return g
}

// After returns the first due time later than t, in Unix nanoseconds.
func (g Grid) After(t int64) int64 {
	if g.Period == 0 {
		return t
	}
	n := (t - g.Phase) / g.Period
	if (t-g.Phase)%g.Period < 0 {
		n--
	}
	return (n+1)*g.Period + g.Phase
}

// First returns when a device that is ready at t is polled first: on the grid, but not
// later than a second after t.
func (g Grid) First(t int64) int64 {
	if g.Period == 0 {
		return t
	}
	due := g.After(t - 1)
	if due-t <= int64(firstPoll) {
		return due
	}
	early := Grid{Period: int64(firstPoll), Phase: g.Phase % int64(firstPoll)}
	return early.After(t - 1)
}
