package engine

import (
	"context"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// paced is a link that asks for more time.
type paced struct {
	driver.Link
	call, request time.Duration
}

func (p paced) Allowance() (call, request time.Duration) { return p.call, p.request }

func (paced) Close(context.Context) error { return nil }

// TestLimits pins how long a call may take: the time-outs, the gap before each request, and
// what the driver asks for.
func TestLimits(t *testing.T) {
	for name, test := range map[string]struct {
		link              driver.Link
		gap               time.Duration
		one, nine, write  time.Duration
		hundred, probeFor time.Duration
	}{
		"without a gap": {one: time.Second, nine: 2 * time.Second, write: 2 * time.Second, hundred: 14 * time.Second, probeFor: time.Second},
		"with a gap": {
			gap: 100 * time.Millisecond,
			one: 1100 * time.Millisecond, nine: 2900 * time.Millisecond, write: 14800 * time.Millisecond,
			hundred: 24 * time.Second, probeFor: time.Second,
		},
		"with a gap of minutes": {
			gap: 2 * time.Minute,
			one: 2*time.Minute + time.Second, nine: 4*time.Minute + 2*time.Second, write: 4*time.Minute + 2*time.Second,
			hundred: 4*time.Minute + 14*time.Second, probeFor: time.Second,
		},
		"with a pacer": {
			link: paced{call: 3 * time.Second, request: 10 * time.Millisecond},
			one:  4010 * time.Millisecond, nine: 5090 * time.Millisecond, write: 6280 * time.Millisecond,
			hundred: 18 * time.Second, probeFor: 4010 * time.Millisecond,
		},
		"with a pacer without sense": {
			link: paced{call: -time.Second, request: time.Hour},
			one:  10*time.Minute + time.Second, nine: 20*time.Minute + 2*time.Second, write: 20*time.Minute + 2*time.Second,
			hundred: 20*time.Minute + 14*time.Second, probeFor: 10*time.Minute + time.Second,
		},
	} {
		l := limitsOf(test.link, time.Second, test.gap)
		got := [...]time.Duration{l.read(1), l.read(9), l.write(), l.read(100), l.probe()}
		want := [...]time.Duration{test.one, test.nine, test.write, test.hundred, test.probeFor}
		if got != want {
			t.Errorf("%s: one point, nine points, a write, a hundred points, a probe: %v, want %v", name, got, want)
		}
	}
}
