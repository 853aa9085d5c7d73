package engine

import (
	"math/rand/v2"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
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
	// tellBadEvery is how often the points of a device that stays away are told to
	// be Bad again.
	tellBadEvery = time.Minute
	defaultBusy  = time.Second
	maxBusy      = time.Hour
)

// answered notes that a device lives. cause, which may be nil, is what it refused.
func (l *link) answered(d *device, cause *driver.Error) {
	if l.session != nil {
		l.session.suspect = nil
	}
	if d.failures != 0 || d.lost || d.demoted {
		d.failures, d.lost = 0, false
		if d.demoted {
			l.promote(d)
		}
	}
	if l.failures != 0 || l.silent || l.state.Condition != control.Up {
		l.failures, l.silent = 0, false
		l.setCondition(control.Up, nil)
	}
	if cause == nil {
		cause = d.refusal()
	}
	if cause != nil {
		l.setDevice(d, control.Degraded, cause)
	} else if d.status.Condition != control.Up {
		l.setDevice(d, control.Up, nil)
	}
}

// refusal is why a scan class of a device that answers has not one value.
func (d *device) refusal() *driver.Error {
	for _, g := range d.groups {
		if g.refusal != nil {
			return g.refusal
		}
	}
	return nil
}

// promote takes a demoted device back into the scan.
func (l *link) promote(d *device) {
	d.demoted = false
	for i, other := range l.down {
		if other == d {
			l.down = append(l.down[:i:i], l.down[i+1:]...)
			break
		}
	}
	l.log.Debug("device answers again", "device", d.spec.Name)
	if d.prepared && d.subscriber == nil {
		l.scan(d, l.e.clock.now())
	}
}

// failed does what the code of a call's fault says.
func (l *link) failed(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	switch fault.Code {
	case driver.NotConnected:
		if l.cuts(r) {
			l.unanswered(r, fault, at)
		}
		l.breakSession(fault)
	case driver.Timeout, driver.Protocol:
		l.unanswered(r, fault, at)
		l.checkSilent(fault)
	case driver.Busy:
		wait := fault.After
		if wait <= 0 {
			wait = defaultBusy
		}
		d.holdUntil = at + int64(min(wait, maxBusy))
		d.probeAt = max(d.probeAt, d.holdUntil)
		l.answered(d, fault)
	case driver.InvalidConfig:
		l.stopDevice(r, fault)
	case driver.Unsupported:
		l.answered(d, fault)
		if g := r.job.group; g != nil {
			g.off = true
		}
	case driver.NotFound, driver.BadValue, driver.Denied:
		l.answered(d, fault)
	default: // Internal, and what no driver should say
		l.log.Debug("driver fault", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
		l.unanswered(r, fault, at)
		// A demoted device with a bug in its driver must not take its neighbours'
		// link with every probe.
		if r.job.kind != jobProbe {
			l.breakSession(fault)
		}
	}
}

// cuts tells whether the connection ended in a call to a device that is to be held
// to account for it: one that cuts the connection whenever it is asked would take
// it from its neighbours for ever. Where another device's answer was wrong just
// before, it is that one's doing.
func (l *link) cuts(r *runner) bool {
	d := r.job.d
	if r.job.kind != jobPoll && r.job.kind != jobProbe || r.session.suspect != nil && r.session.suspect != d {
		return false
	}
	for _, other := range l.devices {
		if other != d && !other.demoted && !other.stopped && len(other.groups) > 0 {
			return true
		}
	}
	return false
}

// unanswered counts a failure and demotes the device at the third in a row.
func (l *link) unanswered(r *runner, fault *driver.Error, at int64) {
	d := r.job.d
	d.failures++
	d.tries.failed++
	d.lost = true
	if r.session.suspect == nil {
		r.session.suspect = d
	}
	d.shadowed = r.session.suspect != d && (d.shadowed || d.failures == 1)
	limit := demoteAfter
	if d.shadowed {
		limit = demoteShadowed
	}
	switch {
	case d.demoted:
		longest := max(int64(maxProbe), d.period())
		d.probeGap = min(2*d.probeGap, longest)
		// Two devices must not go on being probed one right after the other: behind a
		// gateway that is busy with the first for longer than the time-out, the second,
		// which is well, would never be heard.
		d.probeAt = at + d.probeGap*3/4 + rand.N(d.probeGap/2)
		l.tellBad(d, fault, nil)
		l.setDevice(d, control.Down, fault)
		d.since, d.cause = d.status.Since, fault
	case d.failures >= limit && d.subscriber == nil && len(d.table.all.points) > 0:
		d.demoted = true
		d.probeGap = int64(firstProbe)
		d.probeAt = at + d.probeGap
		if d.probe != nil {
			l.down = append(l.down, d)
		}
		l.log.Debug("device does not answer: it is probed from now on", "device", d.spec.Name,
			"code", fault.Code.String(), "err", fault)
		l.setDevice(d, control.Down, fault)
		d.since, d.cause = d.status.Since, fault
		l.tellBad(d, fault, r.job.group)
	default:
		l.setDevice(d, control.Degraded, fault)
	}
}

// period is the shortest of the device's periods.
func (d *device) period() int64 {
	shortest := int64(0)
	for _, g := range d.groups {
		if shortest == 0 || g.grid.Period < shortest {
			shortest = g.grid.Period
		}
	}
	return shortest
}

// checkSilent closes a link none of whose devices answers: the wire may be what
// is dead. Each of them was asked since it was opened.
func (l *link) checkSilent(fault *driver.Error) {
	asked := false
	for _, d := range l.devices {
		if d.stopped || len(d.groups) == 0 {
			continue
		}
		if !d.demoted || !d.lost || !d.prepared || d.subscriber != nil {
			return
		}
		asked = true
	}
	if !asked {
		return
	}
	l.silent = true
	l.tries.failed++
	l.breakSession(driver.Errorf(fault.Code, "no device answers; the last one: %w", fault))
}

func (l *link) stopDevice(r *runner, fault *driver.Error) {
	d := r.job.d
	if r.job.kind == jobRequest { // says something of the request only
		l.answered(d, nil)
		return
	}
	d.stopped = true
	l.log.Debug("device is stopped until the configuration changes", "device", d.spec.Name,
		"code", fault.Code.String(), "err", fault)
	l.setDevice(d, control.Stopped, fault)
	l.tellBad(d, fault, r.job.group)
	l.failRequests(fault, d)
}

// tellBad gives every readable point of a device a Bad sample, except those of a
// group that has theirs. It does so at most once a minute while nothing answers.
func (l *link) tellBad(d *device, fault *driver.Error, except *group) {
	at := l.e.clock.now()
	if d.badAt != 0 && at-d.badAt < int64(tellBadEvery) {
		return
	}
	d.badAt = at
	now := time.Now().UnixNano()
	for _, g := range d.groups {
		if g == except {
			continue
		}
		a := l.e.answers.get(len(g.set.points))
		d.shape(g.set, a.samples, fault, now, l.e.ring.Gaps())
		l.e.batcher.add(&lot{
			first: d.spec.FirstHandle, index: g.set.index, samples: a.samples, at: now, policy: g.class.Policy,
		}, at)
		l.e.answers.put(d.keepLast(g, g.set, a, now, true))
	}
}

// shape makes the user's samples of a set's raw ones, in place: scaled, with a
// fault wherever the quality is not Good, and marked as suppressed where the deadband
// holds them back. at is the time of those without one, in Unix nanoseconds.
func (d *device) shape(s *set, samples []driver.Sample, fault *driver.Error, at int64, losses uint64) (o outcome) {
	if d.losses != losses { // a gap was told: send everything once more
		d.losses = losses
		clear(d.last)
	}
	shapes := d.table.shapes
	bad, held := 0, 0
	for i := range samples {
		sample := &samples[i]
		if sample.Quality != driver.Good || sample.Fault != nil || sample.Value.Kind() >= driver.KindString {
			mend(sample, fault)
		}
		if sample.Quality == driver.Bad {
			bad++
			o.bad = true
			o.unsupported = o.unsupported || sample.Fault.Code == driver.Unsupported
		}
		if shapes == nil {
			continue
		}
		point := s.index[i]
		sh := &shapes[point]
		sample.Value = sh.toUser(sample.Value)
		if sh.banded && sh.hold(&d.last[point], sample, at) {
			if sample.Quality == driver.Bad {
				bad--
			}
			sample.Quality = suppressed
			held++
		}
	}
	d.status.Samples += uint64(len(samples) - held)
	d.status.BadSamples += uint64(bad)
	return o
}

// outcome is what shape found among samples.
type outcome struct {
	bad         bool // one is Bad, sent or held back
	unsupported bool // one's point is
}

// mend gives a sample that a driver left half done its sense.
func mend(s *driver.Sample, fault *driver.Error) {
	if s.Quality == driver.Good {
		s.Fault = nil
		if k := s.Value.Kind(); k < driver.KindString || len(s.Value.Str())+len(s.Value.Bytes()) <= maxValueBytes {
			return
		}
		*s = driver.Sample{Time: s.Time, Fault: errTooLong}
		return
	}
	if s.Quality > driver.Good {
		s.Quality = driver.Bad
	}
	if len(s.Value.Str())+len(s.Value.Bytes()) > maxValueBytes {
		s.Value = driver.Value{}
	}
	if s.Fault != nil || s.Quality == driver.Uncertain {
		return
	}
	if s.Fault = fault; fault == nil {
		s.Fault = errUnread
	}
}
