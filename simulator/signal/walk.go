package signal

import (
	"math"
	"time"
)

// walkLevels bounds a walk to 2^walkLevels steps, more than a century of milliseconds.
const walkLevels = 42

type walk struct {
	low, high, step float64
	every           time.Duration
	seed            uint64
}

// Walk is a random walk that starts in the middle of low and high, moves by about step each
// time that every has passed and is reflected at the limits. The same seed and device give the
// same walk.
func Walk(low, high, step float64, every time.Duration, seed uint64) Signal {
	return walk{min(low, high), max(low, high), step, atLeastOne(every), seed}
}

// At works out the walk's position without walking: the end points of an interval of 2^n steps
// are known, the middle lies halfway plus a deviation that belongs to that interval alone (a
// Brownian bridge), and 42 halvings lead to any single step.
func (w walk) At(elapsed time.Duration, seed uint64) Value {
	target := uint64(elapsed / w.every)
	key := mix(w.seed ^ mix(seed))
	// The deviation of n steps is the root of n; that of the middle, given both ends, is half of it.
	deviation := math.Exp2(walkLevels / 2)
	left, right := 0.0, gauss(key)*deviation
	var from uint64
	for half := uint64(1) << (walkLevels - 1); half > 0; half >>= 1 {
		middle := (left+right)/2 + gauss(mix(key^(from+half)))*deviation/2
		deviation /= math.Sqrt2
		if target >= from+half {
			from, left = from+half, middle
		} else {
			right = middle
		}
	}
	return Float(w.reflect((w.low+w.high)/2 + w.step*left))
}

// reflect folds a position back into the limits, as a mirror on either side would.
func (w walk) reflect(x float64) float64 {
	width := w.high - w.low
	if width <= 0 {
		return w.low
	}
	x = math.Mod(x-w.low, 2*width)
	if x < 0 {
		x += 2 * width
	}
	if x > width {
		x = 2*width - x
	}
	return w.low + x
}

// mix is the finaliser of splitmix64: every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// gauss makes a nearly normal deviate (mean 0, variance 1) of the four 16-bit parts of x.
func gauss(x uint64) float64 {
	sum := float64(x&0xffff) + float64(x>>16&0xffff) + float64(x>>32&0xffff) + float64(x>>48)
	return (sum/65536 - 2) * math.Sqrt(3)
}
