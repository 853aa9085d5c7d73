// Package signal describes how a simulated value behaves over time.
//
// A signal is a pure function of the time since the simulator started and of a seed that tells
// devices apart. Nothing ticks: a value is worked out when somebody asks for it, so ten
// thousand idle signals cost nothing and a run can be repeated exactly.
package signal

import (
	"math"
	"time"
)

// Signal is a value as a function of time. At may be called concurrently. elapsed is the time
// since the simulator started, never negative.
type Signal interface {
	At(elapsed time.Duration, seed uint64) Value
}

// Func makes a signal of a function.
type Func func(elapsed time.Duration, seed uint64) Value

// At implements Signal.
func (f Func) At(elapsed time.Duration, seed uint64) Value { return f(elapsed, seed) }

type constant struct{ value Value }

// Constant always has the same value.
func Constant(v Value) Signal { return constant{v} }

func (c constant) At(time.Duration, uint64) Value { return c.value }

type ramp struct{ from, to, period float64 }

// Ramp rises (or falls) evenly from one value towards another and starts over at every period.
func Ramp(from, to float64, period time.Duration) Signal {
	return ramp{from, to, float64(atLeastOne(period))}
}

func (r ramp) At(elapsed time.Duration, _ uint64) Value {
	part := math.Mod(float64(elapsed), r.period) / r.period
	return Float(r.from + (r.to-r.from)*part)
}

type sine struct{ mean, amplitude, period float64 }

// Sine swings around a mean; it starts at the mean, rising.
func Sine(mean, amplitude float64, period time.Duration) Signal {
	return sine{mean, amplitude, float64(atLeastOne(period))}
}

func (s sine) At(elapsed time.Duration, _ uint64) Value {
	part := math.Mod(float64(elapsed), s.period) / s.period
	return Float(s.mean + s.amplitude*math.Sin(2*math.Pi*part))
}

type square struct {
	low, high Value
	period    time.Duration
	duty      float64
}

// Square is high for the first part of each period, duty between 0 and 1, and low for the rest.
func Square(low, high Value, period time.Duration, duty float64) Signal {
	return square{low, high, atLeastOne(period), duty}
}

func (s square) At(elapsed time.Duration, _ uint64) Value {
	if float64(elapsed%s.period) < s.duty*float64(s.period) {
		return s.high
	}
	return s.low
}

type counter struct {
	start, step int64
	every       time.Duration
}

// Counter starts at a value and grows by step each time that every has passed. It wraps around
// as its register does.
func Counter(start, step int64, every time.Duration) Signal {
	return counter{start, step, atLeastOne(every)}
}

func (c counter) At(elapsed time.Duration, _ uint64) Value {
	return Int(c.start + c.step*int64(elapsed/c.every))
}

type slot struct{}

// Slot is the number of polls that the device has served, or of messages that it has sent, this
// one included. It is no function of time: the device that serves it puts the number in, and At
// is 0.
func Slot() Signal { return slot{} }

// IsSlot reports whether s was made by Slot.
func IsSlot(s Signal) bool { return s == Signal(slot{}) }

func (slot) At(time.Duration, uint64) Value { return Uint(0) }

// atLeastOne keeps a period usable as a divisor.
func atLeastOne(d time.Duration) time.Duration { return max(d, 1) }
