package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// TestMakeUp activates a link whose process is said to have died a while ago: what fell
// due since is polled at once, and once; what was polled before waits for its time.
func TestMakeUp(t *testing.T) {
	for name, c := range map[string]struct {
		away   time.Duration
		madeUp bool // those whose due time passed
	}{
		"a short while": {400 * time.Millisecond, true},
		"too long":      {1100 * time.Millisecond, false},
		"no death":      {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, closeAll := newSwap(t, 3*time.Second, link("l", 40, table(1)))
				defer closeAll()
				w.start(t)
				sleep(3 * time.Second)
				died := time.Now()
				if _, err := w.sides[0].Drain(t.Context(), nil); err != nil { // nobody hears of its hand-off
					t.Fatal(err)
				}
				sleep(c.away)
				o := control.ActivateOptions{}
				if c.away > 0 {
					o.Since = died
				}
				if err := w.sides[1].Activate(t.Context(), nil, o); err != nil {
					t.Fatal(err)
				}
				back := time.Now()
				sleep(5 * time.Second)
				atOnce, due := 0, 0
				for i := range 40 {
					device := fmt.Sprintf("d%d", i+1)
					var before, after []time.Time
					for _, at := range times(w.fake.Link("l").Device(device).Polls()) {
						if at.After(died) {
							after = append(after, at)
						} else {
							before = append(before, at)
						}
					}
					fell := before[len(before)-1].Add(time.Second) // due, when the first was in charge
					passed := !fell.After(back)
					if passed {
						due++
					}
					if after[0].Equal(back) {
						atOnce++
					}
					if passed && c.madeUp && !after[0].Equal(back) {
						t.Errorf("%s was due at %v and is polled at %v", device, fell.Sub(back), after[0].Sub(back))
					}
					for k := 2; k < len(after); k++ {
						if after[k].Sub(after[k-1]) != time.Second {
							t.Errorf("%s is polled after %v", device, after[k].Sub(after[k-1]))
						}
					}
				}
				if c.madeUp && atOnce != due || !c.madeUp && atOnce > 4 { // a few are due at just that time
					t.Errorf("%d devices are polled at once, %d were due", atOnce, due)
				}
			})
		})
	}
}
