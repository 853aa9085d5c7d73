package supervise

import (
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
	healthy      = time.Minute // of life, after which everything is forgiven
	maxDeaths    = 5
	deathsWithin = 5 * time.Minute

	// A quarantine lasts two minutes, each that follows twice as long.
	firstQuarantine = 2 * time.Minute
	lastQuarantine  = time.Hour

	// offencesWithin is the time for those that died for what they sent: no health in
	// between makes up for it.
	offencesWithin = 24 * time.Hour
)

// trouble is what is remembered of deaths.
type trouble struct {
	retry   time.Time // of the next start, while it backs off or is in quarantine
	began   time.Time // of the present or last life
	deaths  []time.Time
	offence []time.Time // deaths for what the process sent
	pause   *backoff.ExponentialBackOff
	failing bool // a failure has not been forgiven
	locked  int  // how many quarantines in a row there were
	repeats repeats
}

func newTrouble() trouble {
	pause := &backoff.ExponentialBackOff{InitialInterval: firstBackoff, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: lastBackoff}
	pause.Reset()
	return trouble{pause: pause}
}

// next is the pause before the next start: none for the first of a process that
// was healthy.
func (t *trouble) next(now time.Time, wasActive bool) time.Duration {
	if wasActive && now.Sub(t.began) >= healthy {
		t.failing, t.locked = false, 0
		t.pause.Reset()
	}
	if !t.failing && wasActive {
		t.failing = true
		return 0
	}
	t.failing = true
	return t.pause.NextBackOff()
}

// offends counts a death for what the process sent and reports whether it was one too many.
func (t *trouble) offends(now time.Time) bool {
	t.offence = slices.DeleteFunc(append(t.offence, now), func(at time.Time) bool { return now.Sub(at) > offencesWithin })
	return len(t.offence) >= maxDeaths
}

// dies counts a death and reports whether it was one too many: after a quarantine, before a
// healthy minute, every one is.
func (t *trouble) dies(now time.Time) bool {
	t.deaths = slices.DeleteFunc(append(t.deaths, now), func(at time.Time) bool { return now.Sub(at) > deathsWithin })
	return t.locked > 0 || len(t.deaths) >= maxDeaths
}

// lock is how long the next quarantine lasts.
func (t *trouble) lock() time.Duration {
	t.locked++
	return min(firstQuarantine<<min(t.locked-1, 10), lastQuarantine)
}

// repeats counts failures of a process in a row, for the log: each cause has a line when it
// is new, and one at growing intervals while it lasts.
type repeats struct {
	n      int
	first  time.Time
	causes []string
	again  schedule
}

// fails counts a failure, and reports whether it is to have a line that is seen.
func (r *repeats) fails(cause error, now time.Time) bool {
	if r.n == 0 {
		r.first = now
	}
	r.n++
	key := causeKey(&driver.Error{Code: driver.CodeOf(cause), Text: cause.Error()})
	switch {
	case !slices.Contains(r.causes, key) && len(r.causes) < maxCauses:
		r.causes = append(r.causes, key)
		r.again = schedule{}
	case now.Before(r.again.due):
		return false
	}
	r.again.next(now)
	return true
}
