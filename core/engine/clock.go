package engine

import (
	"hash/fnv"
	"math"
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

// A clock is the grid of due times: Unix nanoseconds that go on by the monotonic
// clock, so that a step of the wall clock moves no poll.
type clock struct {
	base   time.Time
	origin int64 // the grid at base
}

func newClock() *clock {
	base := time.Now()
	return &clock{base: base, origin: base.UnixNano()}
}

func (c *clock) now() int64 { return c.at(time.Now()) }

func (c *clock) at(t time.Time) int64 { return c.origin + int64(t.Sub(c.base)) }

// skew is how far the grid is from the wall clock. The two are read one after the
// other, and what comes between makes it larger: the smallest of a few is right.
func (c *clock) skew() int64 {
	least := int64(math.MaxInt64)
	for range 8 {
		now := time.Now()
		least = min(least, c.at(now)-now.UnixNano())
	}
	return least
}

// A grid is the due times of one scan class of one device: every period, at a
// phase that depends on nothing but names, so that a change of the configuration
// shifts nobody. Phases are whole slots of a twentieth of the period, at least
// 1 ms and at most 50 ms: the polls of a slot start together on all links, and
// the wake-ups are few.
type grid struct {
	period, phase int64
}

func newGrid(period time.Duration, link, device, class string) grid {
	if period <= 0 {
		return grid{}
	}
	slot := int64(min(max(period/20, minSlot), maxSlot))
	slots := max(int64(period)/slot, 1)
	h := fnv.New64a()
	for _, name := range [...]string{link, device, class} {
		_, _ = h.Write([]byte(name)) // a hash takes everything
		_, _ = h.Write([]byte{0})
	}
	return grid{period: int64(period), phase: int64(h.Sum64()%uint64(slots)) * slot}
}

// shifted is the same grid, later by shift: that of a link which came from a process
// whose grid lies elsewhere.
func (g grid) shifted(shift int64) grid {
	if g.period > 0 {
		g.phase = ((g.phase+shift)%g.period + g.period) % g.period
	}
	return g
}

// after is the first due time later than t.
func (g grid) after(t int64) int64 {
	if g.period == 0 {
		return t
	}
	n := (t - g.phase) / g.period
	if (t-g.phase)%g.period < 0 {
		n--
	}
	return (n+1)*g.period + g.phase
}

// first is when a device that is ready at t is polled first: on the grid, but not
// later than in a second.
func (g grid) first(t int64) int64 {
	if g.period == 0 {
		return t
	}
	due := g.after(t - 1)
	if due-t <= int64(firstPoll) {
		return due
	}
	early := grid{period: int64(firstPoll), phase: g.phase % int64(firstPoll)}
	return early.after(t - 1)
}
