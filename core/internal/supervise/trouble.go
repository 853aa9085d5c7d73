package supervise

import (
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
	healthy      = time.Minute // of life, after which everything is forgiven
	maxDeaths    = 5
	deathsWithin = 5 * time.Minute
)

// trouble is what is remembered of deaths.
type trouble struct {
	retry   time.Time // of the next start, while it backs off
	began   time.Time // of the present or last life
	deaths  []time.Time
	pause   *backoff.ExponentialBackOff
	failing bool // a failure has not been forgiven
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
		t.failing = false
		t.pause.Reset()
	}
	if !t.failing && wasActive {
		t.failing = true
		return 0
	}
	t.failing = true
	return t.pause.NextBackOff()
}

// dies counts a death and tells whether it was one too many.
func (t *trouble) dies(now time.Time) bool {
	t.deaths = slices.DeleteFunc(append(t.deaths, now), func(at time.Time) bool { return now.Sub(at) > deathsWithin })
	return len(t.deaths) >= maxDeaths
}
