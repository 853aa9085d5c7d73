package engine

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// discoveryStarved is how long a step of a discovery waits at most on a link that always has
// another poll due.
const discoveryStarved = 10 * time.Second

// Discover asks one candidate of a link, behind everything else that waits for it.
func (e *Engine) Discover(ctx context.Context, link string, c driver.Candidate) (*driver.Entry, int, error) {
	l, err := e.links.find(link)
	if err != nil {
		return nil, 0, err
	}
	if c.Patience <= 0 || c.Patience > l.spec.Timeout {
		c.Patience = l.spec.Timeout
	}
	c.Number = max(0, c.Number)
	q := &request{kind: askDiscover, d: l.itself, candidate: c}
	if err := l.ask(ctx, q); err != nil || len(q.entries) == 0 {
		return nil, q.of, err
	}
	return &q.entries[0], q.of, nil
}

// discover asks one candidate.
func (q *request) discover(ctx context.Context, r *runner) (err error) {
	d, ok := r.session.link.(driver.Discoverer)
	if !ok {
		return driver.Errorf(driver.Unsupported, "driver %s cannot look for devices", r.l.e.info.Name)
	}
	var e *driver.Entry
	if e, r.candidates, err = d.Discover(ctx, q.candidate); e != nil {
		r.entries = []driver.Entry{*e}
	}
	return err
}

// nextDiscovery finds a step of a discovery that is over before the next poll is due. One that
// has waited for as long as it may take is made all the same: it delays that poll by its
// patience at most, and a discovery takes half of the link at most.
func (a *agenda) nextDiscovery(now int64, t terms) (job, int64) {
	steps := a.requests[askDiscover.queue()]
	if len(steps) == 0 || steps[0].d.busy {
		return job{}, never
	}
	q := steps[0]
	need := q.candidate.Patience + t.request + t.gap + probeMargin
	if t.beside || a.slack(now, need) >= need || a.discoveryWaits(now, q.candidate.Patience) {
		return job{kind: jobRequest, d: q.d, req: q, limit: q.limit(t.limits)}, 0
	}
	return job{}, q.at + int64(q.candidate.Patience)
}

// discoveryWaits reports whether a step of a discovery has waited for so long.
func (a *agenda) discoveryWaits(now int64, long time.Duration) bool {
	steps := a.requests[askDiscover.queue()]
	return len(steps) > 0 && now-steps[0].at >= int64(long)
}

// discovered draws from a step of a discovery what it says of the link: that its wire is gone,
// or that its driver has a bug. Of the devices that are configured it says nothing.
func (l *link) discovered(r *runner, fault *driver.Error) {
	switch {
	case fault == nil || !l.current(r):
	case fault.Code == driver.NotConnected && !r.session.lazy:
		l.lost(r.session, fault, nil)
	case fault.Code == driver.Internal:
		l.breakSession(fault, nil)
	}
}
