package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const defaultTimeout = time.Second

var (
	errStopped  = &driver.Error{Code: driver.NotConnected, Text: "the link is stopped"}
	errOffline  = &driver.Error{Code: driver.Denied, Text: control.OfflineText}
	errReopened = errors.New("it was activated again meanwhile")
)

// A link is the scheduler of one wire: it joins the pieces below, each of which owns its part
// and knows none of the others, and lends them its lock. What the engine wants of a link is
// here; what its runners do by turns is in turn.go. mu is never held during a driver call.
type link struct {
	e     *Engine
	name  string
	log   *slog.Logger
	after <-chan struct{} // the link of this name before: it must be done first; may be nil
	done  chan struct{}   // closed when removed and finished

	mu      sync.Mutex
	spec    control.Link // without devices; only Offline changes
	crew    crew         // who makes the calls
	conn    connection   // whether it is open
	custody custody      // who has it
	roster  roster       // its devices, and what waits for them
	panics  panics       // of its driver
	itself  *device      // in whose name requests of the link wait; it has no points and is on no list
	seen    linkSighting // the watchdog's
	dialer  dialer       // opens it; needs no lock
}

func newLink(e *Engine, spec control.Link, after <-chan struct{}) *link {
	l := &link{
		e: e, name: spec.Name, log: e.log.With("driver", e.info.Name, "link", spec.Name),
		after: after, done: make(chan struct{}), spec: spec, custody: custody{held: true},
	}
	l.spec.Devices = nil
	if l.spec.Timeout <= 0 {
		l.spec.Timeout = defaultTimeout
	}
	l.dialer = dialer{e: e, spec: &l.spec, log: l.log, losses: linkLosses{e.losses, l}}
	l.crew.init(&l.mu)
	l.panics = panics{clock: e.clock, log: l.log}
	l.roster = roster{outlet: &e.outlet, clock: e.clock, log: l.log, conditions: conditions{
		clock: e.clock, onEvent: e.o.OnEvent, link: control.LinkStatus{Name: spec.Name, Since: time.Now()},
	}}
	l.itself = newDevice(l, control.Device{}, &table{config: &control.Table{}, all: &set{}})
	l.itself.prepared = true
	return l
}

// start begins with the runner that opens the link. The link must be removed.
func (l *link) start() {
	l.e.links.begin(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crew.start(&runner{l: l})
}

// remove stops the link for good. done is closed when it has ended.
func (l *link) remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn.removed = true
	l.settle()
}

// reconfigure makes these the link's devices.
func (l *link) reconfigure(specs []control.Device, tables *tableCache) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := func(spec control.Device, t *table) *device { return newDevice(l, spec, t) }
	if l.roster.replace(specs, tables, fresh, l.conn.usable()) {
		l.conn.stopped = nil
	}
	l.crew.signal()
}

// A wish is what the engine wants of a link.
type wish struct {
	held    bool      // another process has it
	handed  *handLink // what that one handed over; may be nil
	since   int64     // polls that fell due since are made up for when the link comes back; never: none
	offline *bool     // nil: as it is
}

// want holds the link, or takes it back, and takes it off line, or not.
func (l *link) want(w wish) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.e.clock.now()
	if h, taken, fresh := l.custody.hold(w.held, w.handed, now); taken {
		l.roster.restore(h, fresh, func(device string, class *control.Class) control.Grid {
			return l.custody.gridOf(l.name, device, class)
		})
		for _, d := range l.roster.devices {
			d.makeUp(w.since, now)
		}
	}
	if w.offline != nil {
		l.spec.Offline = *w.offline
	}
	l.settle()
}

// settle opens or closes the link as it is wanted now.
func (l *link) settle() {
	active := !l.conn.removed && !l.custody.held && !l.spec.Offline
	changed := active != l.conn.active
	if changed {
		now := l.e.clock.now()
		l.conn.setActive(active, now)
		if !active {
			l.custody.restAt = now
			l.roster.agenda.refuse(whyStopped(l.spec.Offline), nil)
		}
	}
	if !active && l.conn.session == nil && (changed || !l.conn.opening) {
		l.roster.stopped(l.spec.Offline)
	}
	l.sendOffline()
	if changed || l.conn.removed {
		l.crew.signal()
	}
}

// sendOffline has what was taken off line say so. What another process has says it there.
func (l *link) sendOffline() {
	if !l.custody.held && !l.conn.removed {
		l.roster.sendOffline(l.spec.Offline, l.conn.session == nil)
	}
}

func whyStopped(offline bool) *driver.Error {
	if offline {
		return errOffline
	}
	return errStopped
}

// awaitRest waits until an inactive link has nothing open.
func (l *link) awaitRest(ctx context.Context) error {
	l.mu.Lock()
	resting := l.conn.resting(l.crew.calls())
	l.mu.Unlock()
	select {
	case <-resting:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.custody.held
}

// handOver writes what the link hands over.
func (l *link) handOver() (*handLink, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.custody.held {
		return nil, driver.Errorf(driver.Busy, "drain link %s: %w", l.name, errReopened)
	}
	return l.custody.handOver(l.name, l.roster.handOver), nil
}

func (l *link) status() control.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roster.status()
}

// ask queues a request and waits for its answer. A link that is away is opened for it.
func (l *link) ask(ctx context.Context, q *request) error {
	q.done = make(chan struct{})
	l.mu.Lock()
	s, condition := l.conn.session, l.roster.conditions.link.Condition
	away := s == nil && condition == control.Down || s != nil && s.broken
	why := l.refuses(q, away)
	if q.at = l.e.clock.now(); why == nil && !l.roster.agenda.ask(q) {
		why = driver.Errorf(driver.Busy, "%d requests wait for link %s already", maxRequests, l.name)
	}
	if why != nil {
		l.mu.Unlock()
		return unsent(why)
	}
	if away {
		l.conn.backoff.hasten(q.at)
	}
	l.crew.signal()
	l.mu.Unlock()
	return q.await(ctx, l.name, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.roster.agenda.withdraw(q)
	})
}

// refuses is why a request cannot wait for its turn; nil: it can. away: the link is not open,
// and was.
func (l *link) refuses(q *request, away bool) *driver.Error {
	switch {
	case q.d.spec.Offline && q.kind != askTrial:
		return errOffline
	case !l.conn.active:
		return whyStopped(l.spec.Offline)
	case l.conn.session == nil && l.conn.stopped != nil, away && l.crew.abandoned >= maxAbandoned:
		return notConnected(l.name, l.roster.conditions.link.Cause)
	case q.d.gone:
		return errChanged
	case q.kind == askTrial && q.d.spec.Offline:
	case q.d.stopped || q.d.health.retries > 0 && !q.d.prepared:
		return orUnknown(q.d.status.Cause)
	}
	return nil
}

func notConnected(link string, cause *driver.Error) *driver.Error {
	return driver.Errorf(driver.NotConnected, "link %s is not connected: %w", link, orUnknown(cause))
}
