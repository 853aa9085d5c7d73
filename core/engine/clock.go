package engine

import (
	"math"
	"time"
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
