package engine

import (
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// minProbe is the shortest time in which a demoted device is given a chance.
	minProbe = 10 * time.Millisecond
	// probeMargin keeps a probe clear of the next poll.
	probeMargin = 2 * time.Millisecond
	// probePatience is how long a probe waits for half the slack.
	probePatience = time.Second
	// probeStarved is when a probe on a link without any slack is made all the same.
	probeStarved = time.Minute
	// suspectStarved is how long a device whose last answer did not come waits at
	// most on a link that always has another poll due.
	suspectStarved = 10 * time.Second
	// trialPatience is how long a trial on an open link waits for a time-out's worth of
	// quiet, so that it moves no neighbour's poll; then it is made all the same.
	trialPatience = 5 * time.Second
	// maxRequests bounds what waits at a link.
	maxRequests = 1024
)

// An agenda is what waits to be done on an open link: requests, devices to prepare, polls
// by their due time, polls of suspects, and demoted devices to probe. It calls nobody and
// reads no clock; its link's lock guards it.
//
// A turn has three steps: sortOut takes off what is due and cannot be made now, choose
// says what is next and changes nothing, and take takes that off.
type agenda struct {
	requests  [4][]*request // writes; reads and browses; trials; steps of a discovery
	unready   []*device     // to be prepared
	due       dueHeap
	suspects  []*group // due, of devices whose last answer did not come
	ahead     *group   // whose next poll is on the wire already, so that it is the next job
	down      []*device
	notBefore int64 // the end of the inter-request gap
}

// terms are what a choice depends on beside the agenda.
type terms struct {
	limits
	beside bool // the link pipelines, and has room for one call more than this
}

// open begins a session: all devices are to be prepared.
func (a *agenda) open(devices []*device) {
	for _, d := range devices {
		if !d.out() {
			a.unready = append(a.unready, d)
		}
	}
}

// close ends a session: only the requests stay.
func (a *agenda) close() { *a = agenda{requests: a.requests} }

// sortOut takes what is due off the schedule that cannot or should not be polled now. Then
// the first that is due, if any, can be. full says that classes that can wait must; slowed
// is how many of their polls were left out.
func (a *agenda) sortOut(now int64, full bool) (slowed int) {
	if len(a.suspects) > 0 {
		a.suspects = slices.DeleteFunc(a.suspects, func(g *group) bool {
			gone := !g.d.busy && (g.off || !g.d.polls())
			g.queued = g.queued && !gone
			return gone
		})
	}
	for len(a.due) > 0 && a.due[0].due <= now {
		g := a.due[0]
		switch d := g.d; {
		case g.off || !d.polls():
			a.due.pop()
			g.queued = false
		case d.busy:
			a.due.pop()
			d.waiting = append(d.waiting, g)
		case d.health.holdUntil > now:
			a.due.pop()
			a.postpone(g, d.health.holdUntil)
		case g.class.Policy == control.Slow && full:
			a.due.pop()
			a.postpone(g, now)
			slowed++
		case d.health.suspect():
			a.due.pop()
			a.suspects = append(a.suspects, g)
		default:
			return slowed
		}
	}
	return slowed
}

// postpone leaves polls out, up to a time.
func (a *agenda) postpone(g *group, t int64) {
	g.due = g.grid.After(t)
	if g.grid.Period == 0 {
		g.due = t + int64(maxLinger)
	}
	a.due.push(g)
}

// choose says what is to be done next, or until when there is nothing: write > read >
// preparation > scan > probe and trial > discovery. It is a pure function of the agenda, sorted out,
// and the terms.
func (a *agenda) choose(now int64, t terms) (job, int64) {
	for _, waiting := range a.requests[:askTrial.queue()] {
		for _, q := range waiting {
			if q.d.prepared && !q.d.busy {
				return job{kind: jobRequest, d: q.d, req: q, limit: q.limit(t.limits)}, 0
			}
		}
	}
	j, until := a.nextUnready(now, t)
	if j.kind != jobNone {
		return j, 0
	}
	g := a.nextPoll(now)
	if g == nil || g.grid.Period == 0 || a.discoveryWaits(now, discoveryStarved) {
		j, at := a.nextTrial(now, t)
		until = min(until, at)
		if j.kind == jobNone {
			j, at = a.nextProbe(now, t)
			until = min(until, at)
		}
		if j.kind == jobNone {
			j, at = a.nextDiscovery(now, t)
			until = min(until, at)
		}
		if j.kind != jobNone {
			return j, 0
		}
	}
	if g != nil {
		return job{kind: jobPoll, d: g.d, group: g, due: g.due, limit: t.read(len(g.set.points))}, 0
	}
	if len(a.due) > 0 {
		until = min(until, a.due[0].due)
	}
	return job{}, until
}

// nextUnready finds a device to prepare, or one that cannot be because the subscription of
// the one before it does not end.
func (a *agenda) nextUnready(now int64, t terms) (job, int64) {
	until := int64(never)
	for _, d := range a.unready {
		switch {
		case d.after != nil && !d.after.ended: // its end signals
			if now >= d.afterBy {
				return job{kind: jobBreak, d: d}, 0
			}
			until = min(until, d.afterBy)
		case d.busy: // its end looks again
		case d.health.retryAt > now:
			until = min(until, d.health.retryAt)
		default:
			return job{kind: jobPrepare, d: d, limit: t.timeout}, 0
		}
	}
	return job{}, until
}

// nextPoll finds the next due poll. Devices whose last answer did not come wait
// until no other has a due time behind it, so that each of their time-outs delays a
// neighbour once; but not for ever.
func (a *agenda) nextPoll(now int64) *group {
	var g *group
	if len(a.due) > 0 && a.due[0].due <= now {
		g = a.due[0]
	}
	if len(a.suspects) == 0 {
		return g
	}
	starved := now-a.suspects[0].due > int64(suspectStarved)
	if g != nil && g.grid.Period > 0 && !starved {
		return g
	}
	for _, s := range a.suspects {
		if !s.d.busy {
			return s
		}
	}
	return g
}

// nextProbe finds a demoted device to ask for one point.
func (a *agenda) nextProbe(now int64, t terms) (job, int64) {
	until := int64(never)
	for _, d := range a.down {
		if d.busy || !d.prepared {
			continue
		}
		if d.health.probeAt > now {
			until = min(until, d.health.probeAt)
			continue
		}
		if limit := a.probeLimit(now, time.Duration(now-d.health.probeAt), t); limit > 0 {
			return job{kind: jobProbe, d: d, limit: limit}, 0
		}
	}
	return job{}, until
}

// nextTrial finds a device that is being checked.
func (a *agenda) nextTrial(now int64, t terms) (job, int64) {
	until := int64(never)
	for _, q := range a.requests[askTrial.queue()] {
		switch {
		case q.d.busy:
		case now-q.at >= int64(trialPatience) || a.probeLimit(now, 0, t) > 0:
			return job{kind: jobRequest, d: q.d, req: q, limit: q.limit(t.limits)}, 0
		default:
			until = min(until, q.at+int64(trialPatience))
		}
	}
	return job{}, until
}

// probeLimit is how long a probe may take so that it moves no neighbour's poll: it
// must end before the next one is due. It first waits for a slack of a whole
// time-out; for each second in vain half is enough. On a link that
// pipelines it runs beside the polls. Zero: not now.
func (a *agenda) probeLimit(now int64, overdue time.Duration, t terms) time.Duration {
	whole := t.probe()
	if t.beside {
		return whole
	}
	slack := a.slack(now, whole*2)
	usable := slack - max(slack/10, probeMargin) - t.gap
	one := t.timeout + t.request // where the driver need not connect first
	need := max(one>>min(overdue/probePatience, 30), min(minProbe, one))
	switch {
	case usable >= need:
		return min(usable, whole)
	case overdue >= probeStarved:
		return max(one/4, min(minProbe, one))
	}
	return 0
}

// slack is how long the link has until the next poll is due, up to a longest.
func (a *agenda) slack(now int64, longest time.Duration) time.Duration {
	slack := longest
	for _, g := range a.due {
		if g.grid.Period > 0 && !g.off && g.d.polls() {
			slack = min(slack, time.Duration(g.due-now))
		}
	}
	return slack
}

// take takes off what was chosen. A demoted device stays until it answers.
func (a *agenda) take(j job) {
	switch j.kind {
	case jobRequest:
		a.withdraw(j.req)
	case jobPrepare:
		a.unready = without(a.unready, j.d)
	case jobPoll:
		if len(a.due) > 0 && a.due[0] == j.group {
			a.due.pop()
		} else {
			a.suspects = without(a.suspects, j.group)
		}
	}
}

// takeAhead takes the poll that the driver was promised. There must be one.
func (a *agenda) takeAhead(now int64, l limits) job {
	g := a.ahead
	a.ahead = nil
	return job{kind: jobPoll, d: g.d, group: g, due: now, limit: l.read(len(g.set.points))}
}

// promise makes the next poll of a group the next job, whatever comes, if there is nothing
// else to do, and reports whether it is.
func (a *agenda) promise(g *group, now int64, full bool) bool {
	switch {
	case g.d.gone, g.off, g.class.Policy == control.Slow && full:
		return false
	case len(a.requests[0])+len(a.requests[1])+len(a.requests[2])+len(a.requests[3])+len(a.unready)+len(a.suspects)+len(a.down) > 0:
		return false
	case len(a.due) > 0 && a.due[0].due <= now:
		return false
	}
	a.ahead = g
	return true
}

// overdue reports whether something should have been done before now.
func (a *agenda) overdue(now int64) bool {
	if now < a.notBefore {
		return false
	}
	for _, d := range a.unready {
		if d.health.retryAt <= now && (d.after == nil || d.after.ended) {
			return true
		}
	}
	for _, waiting := range a.requests[:askDiscover.queue()] {
		for _, q := range waiting {
			if q.d.prepared && !q.d.busy && now-q.at > int64(trialPatience) {
				return true
			}
		}
	}
	return len(a.due) > 0 && a.due[0].due <= now
}

// release puts back what waited for a call to the device to end.
func (a *agenda) release(d *device) {
	for _, g := range d.waiting {
		a.due.push(g)
	}
	d.waiting = d.waiting[:0]
}

// leave takes a device off every list, but for its requests.
func (a *agenda) leave(d *device) {
	a.unready = without(a.unready, d)
	a.down = without(a.down, d)
	a.due.forget(d)
	a.suspects = slices.DeleteFunc(a.suspects, func(g *group) bool { return g.d == d })
	for _, g := range d.groups {
		g.queued = false
	}
	d.waiting = d.waiting[:0]
}

// without takes an element out of a list, if it is in it.
func without[T comparable](list []T, gone T) []T {
	if i := slices.Index(list, gone); i >= 0 {
		return append(list[:i:i], list[i+1:]...)
	}
	return list
}

// ask has a request wait, if there is room for it.
func (a *agenda) ask(q *request) bool {
	queue := q.kind.queue()
	if len(a.requests[queue]) >= maxRequests {
		return false
	}
	a.requests[queue] = append(a.requests[queue], q)
	return true
}

// withdraw takes a request off, and reports whether it was still waiting.
func (a *agenda) withdraw(q *request) bool {
	queue := q.kind.queue()
	before := len(a.requests[queue])
	a.requests[queue] = without(a.requests[queue], q)
	return len(a.requests[queue]) < before
}

// refuse answers all requests that wait, or those of one device.
func (a *agenda) refuse(fault *driver.Error, of *device) {
	for queue, waiting := range a.requests {
		keep := waiting[:0:0]
		for _, q := range waiting {
			if of != nil && q.d != of {
				keep = append(keep, q)
				continue
			}
			q.err = unsent(fault)
			close(q.done)
		}
		a.requests[queue] = keep
	}
}
