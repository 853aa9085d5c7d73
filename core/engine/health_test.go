package engine

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const second = int64(time.Second)

func TestHealthDemotes(t *testing.T) {
	for name, test := range map[string]struct {
		behind []bool // for each failure: another device failed before it
		probed bool
		want   []blow
	}{
		"at the third in a row":    {[]bool{false, false, false, false}, true, []blow{blowDoubts, blowDoubts, blowDemotes, blowLasts}},
		"what can be probed":       {[]bool{false, false, false, false}, false, []blow{blowDoubts, blowDoubts, blowDoubts, blowDoubts}},
		"in a shadow at the sixth": {[]bool{true, true, true, true, true, true}, true, []blow{blowDoubts, blowDoubts, blowDoubts, blowDoubts, blowDoubts, blowDemotes}},
		"out of a shadow":          {[]bool{true, true, true, false}, true, []blow{blowDoubts, blowDoubts, blowDoubts, blowDemotes}},
		"a shadow comes too late":  {[]bool{false, true, true}, true, []blow{blowDoubts, blowDoubts, blowDemotes}},
	} {
		var h health
		for i, behind := range test.behind {
			if got := h.unanswered(int64(i)*second, second, behind, test.probed, false); got != test.want[i] {
				t.Errorf("%s: failure %d does %v, want %v", name, i+1, got, test.want[i])
			}
		}
		if !h.suspect() || !h.lost {
			t.Errorf("%s: the device is not suspect: %+v", name, h)
		}
		if promoted := h.answered(); promoted != (test.want[len(test.want)-1] >= blowDemotes) {
			t.Errorf("%s: promoted: %v", name, promoted)
		}
		if h.suspect() || h.lost || h.demoted {
			t.Errorf("%s: after an answer: %+v", name, h)
		}
	}
}

func TestHealthProbes(t *testing.T) {
	for _, test := range []struct {
		period time.Duration
		most   time.Duration
	}{{time.Second, 10 * time.Second}, {5 * time.Minute, 5 * time.Minute}} {
		var h health
		at := int64(0)
		for range demoteAfter {
			h.unanswered(at, int64(test.period), false, true, false)
		}
		if h.probeAt != second {
			t.Errorf("the first probe is at %v", time.Duration(h.probeAt))
		}
		gap := 2 * time.Second
		for range 12 {
			at = h.probeAt
			h.unanswered(at, int64(test.period), false, true, false)
			if wait := time.Duration(h.probeAt - at); wait < gap*3/4 || wait > gap*5/4 {
				t.Errorf("a probe comes after %v, want about %v", wait, gap)
			}
			gap = min(2*gap, test.most)
		}
	}
}

func TestHealthWaits(t *testing.T) {
	var h health
	h.busy(100, 0)
	if want := 100 + int64(defaultBusy); h.holdUntil != want || h.probeAt != want {
		t.Errorf("busy without a time: %+v", h)
	}
	h.busy(0, 100*time.Hour)
	if h.holdUntil != int64(maxBusy) {
		t.Errorf("busy for 100 hours: %+v", h)
	}
	for i, want := range []int64{1, 2, 4, 8, 16, 32, 60, 60} {
		if h.unprepared(0); h.retryAt != want*second {
			t.Errorf("attempt %d after %v", i+1, time.Duration(h.retryAt))
		}
	}
	h = health{}
	for i, want := range []int64{100, 200, 400, 800, 1600} {
		if got := h.resubscribe(); got != time.Duration(want*ms) {
			t.Errorf("subscription %d after %v", i+1, got)
		}
	}
	h.failures = 1000
	if got := h.resubscribe(); got != maxBackoff {
		t.Errorf("subscription 1000 after %v", got)
	}
	for at, want := range map[int64]bool{second: true, 60 * second: false, 61 * second: true} {
		h = health{}
		h.becomesBad(second)
		if at != second && h.becomesBad(at) != want {
			t.Errorf("the points become Bad after %v: %v", time.Duration(at-second), !want)
		}
	}
}

// TestHealthOutlivesItsProcess hands health over, and takes what is wrong in it.
func TestHealthOutlivesItsProcess(t *testing.T) {
	now := 1000 * second
	sick := health{
		failures: 9, demoted: true, since: time.Unix(7, 0), cause: driver.Errorf(driver.Timeout, "dead"),
		probeAt: now + 5*second, probeGap: 8 * second, patience: now + second, badAt: now - second,
	}
	var out handDevice
	sick.handOver(&out)
	var h health
	h.restore(&out, now, second, true)
	if !h.demoted || h.failures != demoteAfter || h.probeNext != sick.probeAt || h.probeGap != sick.probeGap ||
		h.patience != sick.patience || h.badAt != sick.badAt || !h.since.Equal(sick.since) || h.cause.Text != "dead" {
		t.Errorf("%+v became %+v", sick, h)
	}
	sick.cause = driver.Errorf(driver.Internal, "bug")
	out = handDevice{}
	if sick.handOver(&out); out.Probe != nil || out.Failures != 0 {
		t.Errorf("a bug is handed over: %+v", out)
	}
	h.restore(&handDevice{Failures: 100, Hold: 1 << 62, Bad: 1 << 62, Probe: &handProbe{At: 1 << 62, Gap: -5}}, now, second, true)
	if h.failures != demoteAfter || h.patience > now+int64(maxBusy) || h.badAt > now || h.probeNext > now+2*int64(maxProbe) || h.probeGap != int64(firstProbe) {
		t.Errorf("what is wrong became %+v", h)
	}
	if h.restore(nil, now, second, true); h.demoted || h.suspect() || h.badAt != 0 {
		t.Errorf("nothing became %+v", h)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	limit := minBackoff
	for i := range 20 {
		b.fail(second)
		if wait := time.Duration(b.until - second); wait < limit/2 || wait > limit {
			t.Errorf("attempt %d after %v, want %v to %v", i+1, wait, limit/2, limit)
		}
		limit = min(2*limit, maxBackoff)
	}
	if b.hasten(2 * second); b.until != 2*second {
		t.Errorf("hastened to %v", time.Duration(b.until))
	}
	b.fail(2 * second)
	if b.hasten(2*second + 1); b.until != 3*second {
		t.Errorf("hastened twice in a second, to %v", time.Duration(b.until))
	}
}
