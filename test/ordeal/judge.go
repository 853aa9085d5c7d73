package ordeal

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A verdict is how the spool compares with what was served.
type verdict struct {
	served, stored int
	lost           int // served and not stored
	outside        int // of these: at a time of which no gap tells
	repeated       int
	disordered     int    // stored after a later one
	foreign        int    // stored and never served
	example        string // of outside
}

// judge holds the whole spool against the witness. A loss that a gap tells of is
// counted, every other one fails the test.
func (f *Field) judge(e *evidence) (verdict, [][]poll) {
	f.t.Helper()
	var v verdict
	all := make([][]poll, f.o.Devices)
	wrong := 0
	for i := range f.o.Devices {
		all[i] = f.polls(e, i)
		before := v
		v.order(e.slots[i], all[i])
		v.losses(all[i], e.gaps, f.o.Period)
		if wrong < 5 && (v.repeated > before.repeated || v.disordered > before.disordered || v.foreign > before.foreign || v.outside > before.outside) {
			wrong++
			f.t.Errorf("%s: %d slots stored again, %d out of order, %d never served, %d lost without a gap: %s",
				linkName(i), v.repeated-before.repeated, v.disordered-before.disordered, v.foreign-before.foreign, v.outside-before.outside, v.example)
		}
	}
	return v, all
}

// order judges what is stored of a device.
func (v *verdict) order(slots []uint64, polls []poll) {
	served := make(map[uint64]bool, len(polls))
	for _, p := range polls {
		served[p.slot] = true
	}
	seen := make(map[uint64]bool, len(slots))
	highest := uint64(0)
	for _, n := range slots {
		switch {
		case seen[n]:
			v.repeated++
		case !served[n]:
			v.foreign++
		case n < highest:
			v.disordered++
		}
		seen[n] = true
		highest = max(highest, n)
	}
	v.served += len(polls)
	v.stored += len(slots)
}

// losses judges what is not stored. The time of a poll is when it was asked for, and a
// gap begins when the last frame came: what that frame left behind was asked for at most
// one poll's time before.
func (v *verdict) losses(polls []poll, gaps []gap, period time.Duration) {
	for _, p := range polls {
		if p.stored {
			continue
		}
		v.lost++
		told := false
		for i := range gaps {
			told = told || gaps[i].meets(p.at, p.at.Add(period))
		}
		if !told {
			v.outside++
			v.example = fmt.Sprintf("%d at %v, %s", p.slot, p.at.Format(time.StampMicro), nearest(gaps, p.at))
		}
	}
}

// nearest says where the gap lies that is next to a time.
func nearest(gaps []gap, at time.Time) string {
	best, near := "there is no gap", time.Duration(math.MaxInt64)
	for i := range gaps {
		g := &gaps[i]
		if d := min(g.from.Sub(at).Abs(), g.to.Sub(at).Abs()); d < near {
			near = d
			best = fmt.Sprintf("the next gap is from %v to %v after it: %s", g.from.Sub(at), g.to.Sub(at), g.cause)
		}
	}
	return best
}

// gapFor finds the gap of a cause that spans a death. Frames that were on their way come
// a little after it, and the gap begins with the last of them.
func (e *evidence) gapFor(death time.Time, late time.Duration, cause ...string) bool {
	for i := range e.gaps {
		g := &e.gaps[i]
		fits := g.meets(death, death.Add(late))
		for _, text := range cause {
			fits = fits && strings.Contains(g.cause, text)
		}
		if fits {
			return true
		}
	}
	return false
}
