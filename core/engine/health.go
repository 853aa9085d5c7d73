package engine

import (
	"math/rand/v2"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// demoteAfter is how many failures in a row demote a device.
	demoteAfter = 3
	// demoteShadowed is how many demote one whose every failure came after another
	// device's, with no answer from any between: behind a gateway that is still busy
	// with that one, it may be well.
	demoteShadowed = 2 * demoteAfter
	// A demoted device is probed after firstProbe, then after twice as long each
	// time, up to its shortest period and at least maxProbe.
	firstProbe = time.Second
	maxProbe   = 10 * time.Second
	// badEvery is how often the points of a device that stays away become Bad again.
	badEvery    = time.Minute
	defaultBusy = time.Second
	maxBusy     = time.Hour

	minBackoff = 100 * time.Millisecond
	maxBackoff = 60 * time.Second
)

// A health is how a device has answered lately, and until when it is left alone for that.
// It is a value: it calls nobody, and whoever has it guards it. The zero value is the
// health of a device that was not asked yet. All times are on the grid.
type health struct {
	failures int  // in a row
	shadowed bool // every failure in the row came after another device's
	lost     bool // failed since the link was opened, and nothing since

	demoted   bool
	since     time.Time     // so it is, ...
	cause     *driver.Error // ... for this
	probeAt   int64
	probeGap  int64
	probeNext int64 // of a hand-off: when to probe first; 0: at once

	holdUntil int64 // it asked for patience
	patience  int64 // holdUntil when the link was drained

	retryAt int64 // not prepared before
	retries int   // to prepare it, in a row

	badAt int64 // when all its points were last made Bad; 0: they are not
}

// A blow is what one more failure does to a device.
type blow uint8

const (
	blowDoubts  blow = iota // it has to wait for its neighbours
	blowDemotes             // it leaves the scan
	blowLasts               // it is demoted already
)

// suspect reports whether the last answer did not come.
func (h *health) suspect() bool { return h.failures > 0 }

// answered forgets the failures, and reports whether the device comes back to the scan.
func (h *health) answered() (promoted bool) {
	promoted = h.demoted
	h.failures, h.lost, h.demoted = 0, false, false
	return promoted
}

// unanswered counts a failure at a time. behind says that another device's failure is the
// last before it, and period is the shortest of the device's; one that cannot be probed is
// never demoted. While the connection is fresh, it is probed again soon.
func (h *health) unanswered(at, period int64, behind, probed, fresh bool) blow {
	h.failures++
	h.lost = true
	h.shadowed = behind && (h.shadowed || h.failures == 1)
	limit := demoteAfter
	if h.shadowed {
		limit = demoteShadowed
	}
	switch {
	case h.demoted:
		if !fresh {
			h.probeGap = min(2*h.probeGap, longestGap(period))
		}
		// Two devices must not go on being probed one right after the other: behind a
		// gateway that is busy with the first for longer than the time-out, the second,
		// which is well, would never be heard.
		h.probeAt = at + h.probeGap*3/4 + rand.N(h.probeGap/2)
		return blowLasts
	case h.failures >= limit && probed:
		h.demoted = true
		h.probeGap = int64(firstProbe)
		h.probeAt = at + h.probeGap
		return blowDemotes
	}
	return blowDoubts
}

// longestGap is the longest time between two probes of a device.
func longestGap(period int64) int64 { return max(int64(maxProbe), period) }

// busy leaves the device alone for as long as it asked for.
func (h *health) busy(at int64, after time.Duration) {
	if after <= 0 {
		after = defaultBusy
	}
	h.holdUntil = at + int64(min(after, maxBusy))
	h.probeAt = max(h.probeAt, h.holdUntil)
}

// prepared notes that the device was prepared; what it was patient for goes on.
func (h *health) prepared() {
	h.retries = 0
	h.holdUntil, h.patience = h.patience, 0
}

// probeFrom sets the first probe of a device that was demoted when it was prepared.
func (h *health) probeFrom(at int64) { h.probeAt, h.probeNext = max(at, h.probeNext), 0 }

// unprepared sets when the device is prepared next: after a second, doubled with every
// failure up to maxBackoff.
func (h *health) unprepared(at int64) {
	h.retryAt = at + int64(min(time.Second<<min(h.retries, 6), maxBackoff))
	h.retries++
}

// resubscribe counts an ended subscription and returns how long to wait for the next.
func (h *health) resubscribe() time.Duration {
	wait := min(minBackoff<<min(h.failures, 10), maxBackoff)
	h.failures++
	return wait
}

// becomesBad reports whether all points are to be made Bad now, and notes it if so.
func (h *health) becomesBad(at int64) bool {
	if h.badAt != 0 && at-h.badAt < int64(badEvery) {
		return false
	}
	h.badAt = at
	return true
}

// detach forgets what belongs to a session.
func (h *health) detach() { h.lost, h.holdUntil, h.retryAt = false, 0, 0 }

// forgive forgets all trouble that the device had.
func (h *health) forgive() {
	h.failures, h.demoted, h.lost, h.shadowed = 0, false, false, false
	h.probeNext, h.patience, h.retries, h.badAt = 0, 0, 0, 0
}

// handOver writes what another process has to know.
func (h *health) handOver(out *handDevice) {
	out.Failures, out.Hold, out.Bad = h.failures, h.patience, h.badAt
	switch {
	case !h.demoted:
	case h.cause.Code == driver.Internal:
		out.Failures = 0 // the process's own bug: another's first poll shows whether it has it too
	default:
		out.Probe = &handProbe{At: h.probeAt, Gap: h.probeGap, Since: h.since, Code: h.cause.Code, Text: h.cause.Text}
	}
}

// restore takes over what another process wrote, which may be wrong. Without in, nothing is
// known. probed says that the device has a point to probe.
func (h *health) restore(in *handDevice, now, period int64, probed bool) {
	h.failures, h.demoted, h.probeNext, h.patience, h.badAt = 0, false, 0, 0, 0
	if in == nil {
		return
	}
	h.badAt = min(max(in.Bad, 0), now)
	h.failures, h.patience = min(max(in.Failures, 0), demoteAfter-1), min(in.Hold, now+int64(maxBusy))
	if p := in.Probe; p != nil && probed {
		longest := longestGap(period)
		h.demoted, h.failures = true, demoteAfter
		h.probeGap = min(max(p.Gap, int64(firstProbe)), longest)
		h.probeNext = min(p.At, now+2*longest)
		h.since, h.cause = p.Since, &driver.Error{Code: p.Code, Text: p.Text}
	}
}

// A backoff is when a link is opened next. It is a value as health is.
type backoff struct {
	failures int // to open, or sessions without an answer, in a row
	until    int64
	hastened int64 // when it was last opened for a request, or is to be
}

// fail has the next attempt wait: 100 ms, doubled with every failure up to 60 s, of which
// a random half is taken off.
func (b *backoff) fail(now int64) {
	wait := maxBackoff
	if b.failures < 10 {
		wait = min(minBackoff<<b.failures, maxBackoff)
	}
	b.failures++
	b.until = now + int64(wait/2+rand.N(wait/2+1))
}

// hasten has the next attempt made now, for somebody asks; but not twice in a second.
func (b *backoff) hasten(now int64) {
	at := max(now, b.hastened+int64(time.Second))
	if at < b.until {
		b.until, b.hastened = at, at
	}
}
