package ordeal

import (
	"slices"
	"time"
)

// A grid is how a device's polls lie on its period.
type grid struct {
	missed []time.Time     // when a poll was due and none was made
	late   []time.Duration // of each poll, behind its own due time
	at     []time.Time
}

// ahead is over how many polls a shift must last to be a missed poll and not a late one.
const ahead = 12

// gridOf lays polls on a grid of one period. A poll that is late is followed by others in
// time; one that is missed shifts all that follow.
func gridOf(polls []poll, period time.Duration) grid {
	var g grid
	if len(polls) == 0 {
		return g
	}
	base := polls[0].at
	off := make([]time.Duration, len(polls)) // behind the first poll's grid
	for i, p := range polls {
		off[i] = p.at.Sub(base) - time.Duration(i)*period
	}
	phase := middle(off, period)
	skipped := 0
	for i, p := range polls {
		least := slices.Min(off[i:min(i+ahead, len(off))]) - phase
		for now := int((least + period/2) / period); skipped < now && least > 0; skipped++ {
			g.missed = append(g.missed, p.at.Add(-time.Duration(now-skipped)*period))
		}
		g.late = append(g.late, off[i]-phase-time.Duration(skipped)*period)
		g.at = append(g.at, p.at)
	}
	return g
}

// middle is the phase on which most polls lie, near the first one's.
func middle(off []time.Duration, period time.Duration) time.Duration {
	phases := make([]time.Duration, len(off))
	for i, d := range off {
		d %= period
		switch {
		case d > period/2:
			d -= period
		case d < -period/2:
			d += period
		}
		phases[i] = d
	}
	return slices.Sorted(slices.Values(phases))[len(phases)/2]
}

// A pace is how well the polls of all devices kept to their grids in a span of time.
type pace struct {
	polls   int
	missed  int           // that were due and not made
	excused int           // of these: while the machine stood still
	latest  time.Duration // poll behind its due time
	beyond  int           // polls that were later than one period
	stall   time.Duration // of the machine
}

// pace looks at the polls between two times.
func (f *Field) pace(all [][]poll, from, to time.Time) pace {
	p := pace{stall: f.pulse.worst(from, to)}
	for i := range all {
		g := gridOf(all[i], f.o.Period)
		for _, at := range g.missed {
			if at.Before(from) || at.After(to) {
				continue
			}
			p.missed++
			if f.pulse.worst(at.Add(-2*f.o.Period), at.Add(2*f.o.Period)) >= f.o.Period/2 {
				p.excused++
			}
		}
		for k, late := range g.late {
			if g.at[k].Before(from) || g.at[k].After(to) {
				continue
			}
			p.polls++
			p.latest = max(p.latest, late)
			if late > f.o.Period {
				p.beyond++
			}
		}
	}
	return p
}

const (
	// busyFrom is from where on a machine is too busy to be held to every poll, and
	// busyMisses which part of the polls it may miss then.
	busyFrom   = 0.5
	busyMisses = 0.03
)

// hold fails the test for polls that were not made, as far as the machine is not to
// blame.
func (f *Field) hold(p pace) {
	f.t.Helper()
	busy := f.pulse.busy()
	missed := p.missed - p.excused
	if busy >= busyFrom && float64(missed) <= busyMisses*float64(p.polls) {
		return
	}
	if missed > 0 {
		f.t.Errorf("%d of %d polls were not made, %d of them while the machine stood still; it was busy for %.0f %% of the time",
			p.missed, p.polls, p.excused, 100*busy)
	}
}
