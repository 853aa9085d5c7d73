package supervise

import (
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// gatherFor is how long trouble is gathered before it is logged, so that what fails
	// together is one line, and a link that is being lost has a cause that says why it cannot
	// be had again: as long as openWithin where no attempt to open it has failed yet.
	gatherFor  = 3 * time.Second
	openWithin = 10 * time.Second
	// gatherMost is how far gathering of devices grows while there is always more.
	gatherMost = time.Minute
	// silentFor is how long a device may be degraded because it was silent: it is down soon,
	// or answers again.
	silentFor = 30 * time.Second
	// calm is how long it is well before trouble that came again is over.
	calm = time.Minute
	// manyFalls is how many falls in a row are logged one by one.
	manyFalls = 2
	// maxCauses is how many causes of one episode have a line of their own.
	maxCauses = 8
)

// stillAfter is how long after the last line trouble that lasts is logged again; then hourly.
var stillAfter = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}

// episode is trouble of one link or device, from its first fall until it is well and, where
// it fell again, stays so.
type episode struct {
	bad       bool
	condition control.Condition
	worst     control.Condition // of the last fall
	cause     *driver.Error
	since     time.Time // of the last fall, or since when it is well
	fell      time.Time // the last time
	began     time.Time // of the first fall
	falls     int
	attempts  uint64 // that failed since the last fall, as far as the driver has reported
	before    uint64 // in earlier falls
	told      bool   // the last fall has its line
	lines     bool   // any fall has one
	rose      bool   // its end has its line, or needs none
	causes    []string
	changed   time.Time // when a cause came that has no line yet; zero: none
	again     schedule
}

// schedule says when trouble that lasts is logged again.
type schedule struct {
	step int
	due  time.Time
}

// next sets when the line after the one just written is due.
func (s *schedule) next(now time.Time) {
	s.due = now.Add(stillAfter[min(s.step, len(stillAfter)-1)])
	s.step++
}

// fall takes a condition that is trouble.
func (ep *episode) fall(e control.Event, now time.Time) {
	if !ep.bad {
		if ep.falls == 0 {
			ep.began = now
		}
		ep.falls++
		ep.before += ep.attempts
		ep.bad, ep.since, ep.fell, ep.told, ep.rose = true, now, now, false, false
		ep.attempts, ep.worst = 0, 0
		if ep.falls > manyFalls && ep.again.due.IsZero() || ep.falls == manyFalls+1 {
			ep.again = schedule{}
			ep.again.next(now)
		}
	}
	ep.condition, ep.cause, ep.attempts = e.Condition, e.Cause, max(ep.attempts, e.Failures)
	if e.Condition > ep.worst { // the numbers grow with the trouble
		ep.worst, ep.told = e.Condition, false
	}
	switch {
	case !ep.told || ep.knows(e.Cause):
		ep.changed = time.Time{}
	case ep.changed.IsZero():
		ep.changed = now
	}
}

// rise takes that it is well.
func (ep *episode) rise(e control.Event, now time.Time) {
	ep.attempts = max(ep.attempts, e.Failures)
	ep.bad, ep.since, ep.changed = false, now, time.Time{}
}

// toldNow notes that a line with the present cause was written.
func (ep *episode) toldNow(now time.Time) {
	ep.told, ep.lines, ep.changed = true, true, time.Time{}
	if !ep.knows(ep.cause) {
		ep.causes = append(ep.causes, causeKey(ep.cause))
	}
	if ep.falls <= manyFalls {
		ep.again.next(now)
	}
}

// knows reports whether a cause has had its line. Beyond maxCauses all have.
func (ep *episode) knows(cause *driver.Error) bool {
	key := causeKey(cause)
	for _, known := range ep.causes {
		if known == key {
			return true
		}
	}
	return len(ep.causes) >= maxCauses
}

// causeKey is a cause without its numbers: ports, times and counts differ from one attempt to
// the next.
func causeKey(cause *driver.Error) string {
	if cause == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString(cause.Code.String())
	digit := false
	for _, r := range cause.Text {
		is := '0' <= r && r <= '9'
		if is && digit {
			continue
		}
		if digit = is; is {
			r = '#'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isSilence reports whether the episode is of a device that has not been given up yet.
func (ep *episode) isSilence() bool {
	if ep.condition != control.Degraded || ep.cause == nil {
		return false
	}
	switch ep.cause.Code {
	case driver.Timeout, driver.Protocol, driver.NotConnected:
		return true
	}
	return false
}

// wantsLine reports whether the fall of a device is to have its line.
func (ep *episode) wantsLine(now time.Time) bool {
	switch {
	case ep.told || ep.falls > manyFalls:
		return false
	case !ep.bad:
		return ep.worst >= control.Down && !ep.rose
	}
	return !ep.isSilence() || now.Sub(ep.since) >= silentFor
}

// wantsEnd reports whether the end is to have its line: after the first fall at once, later
// when it is sure.
func (ep *episode) wantsEnd(now time.Time) bool {
	return !ep.bad && !ep.rose && ep.lines && (ep.falls == 1 || now.Sub(ep.since) >= calm)
}

// over reports whether nothing need be kept of the episode.
func (ep *episode) over(now time.Time) bool {
	return !ep.bad && now.Sub(ep.since) >= calm && (ep.rose || !ep.lines)
}

// advice is what can be done about a cause; empty: nothing that is known.
func advice(cause *driver.Error) string {
	if cause == nil {
		return ""
	}
	switch cause.Code {
	case driver.InvalidConfig:
		return "correct its configuration and reload"
	case driver.Denied:
		return "look at the user, the password or the rights that it is configured with"
	case driver.NotConnected, driver.Timeout:
		return "look at its power, its cable and the address that it is configured with"
	}
	return ""
}
