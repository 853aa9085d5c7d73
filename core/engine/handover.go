package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// keepLimit bounds a driver's Keep.
const keepLimit = 2 * time.Second

// Drain finishes the polls in flight of the links, closes them and flushes the last
// batch; the others go on. Without names it is all links. They stay closed until
// Activate, or until an Apply that neither holds them nor is Standby. Links that are
// closed already answer what they answered before. After an error some may be closed.
func (e *Engine) Drain(ctx context.Context, names []string) (control.Drained, error) {
	links, removed, err := e.hold(names)
	if err != nil {
		return control.Drained{}, err
	}
	for _, l := range append(removed, links...) {
		if err := l.awaitRest(ctx); err != nil {
			return control.Drained{}, driver.Errorf(driver.CodeOf(err), "drain link %s: %w", l.name, err)
		}
	}
	e.losses.flush()
	e.batcher.flushAll(links)
	handed, err := e.handOver(links)
	if err != nil {
		return control.Drained{}, err
	}
	return control.Drained{LastSequence: e.ring.Status().NextSequence - 1, HandOff: handed}, nil
}

// hold has links closed. Without names it is all, and those removed lately too.
func (e *Engine) hold(names []string) (links, removed []*link, err error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	if e.isClosed() {
		return nil, nil, errClosed
	}
	if links, err = e.named(names); err != nil {
		return nil, nil, err
	}
	for _, l := range links {
		l.hold()
	}
	if len(names) == 0 {
		here := make(map[*link]bool, len(links))
		for _, l := range links {
			here[l] = true
		}
		removed = slices.DeleteFunc(e.all(), func(l *link) bool { return here[l] })
	}
	return links, removed, nil
}

// Activate opens links that were applied in standby, held or drained; those that
// are open already go on. It returns before they are connected.
func (e *Engine) Activate(ctx context.Context, names []string, o control.ActivateOptions) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	if e.isClosed() {
		return errClosed
	}
	links, err := e.named(names)
	if err != nil {
		return err
	}
	handed := e.readHandOff(o.HandOff)
	since := int64(never)
	if !o.Since.IsZero() && time.Since(o.Since) <= maxMakeUp {
		since = o.Since.UnixNano() + e.clock.skew()
	}
	for _, l := range links {
		if l.isHeld() {
			if err := l.awaitRest(ctx); err != nil {
				return driver.Errorf(driver.CodeOf(err), "activate link %s: %w", l.name, err)
			}
		}
		l.activate(handed[l.name], since)
	}
	return nil
}

// named finds links; without names, it is all of them.
func (e *Engine) named(names []string) ([]*link, error) {
	if len(names) == 0 {
		return e.snapshot(), nil
	}
	links := make([]*link, len(names))
	for i, name := range names {
		var err error
		if links[i], err = e.link(name); err != nil {
			return nil, err
		}
	}
	return links, nil
}

func (l *link) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// hold leaves the link to another process.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setHeld(true, nil)
	l.settleState()
}

// activate takes the link from there with what that one handed over, which may be nil.
// Polls that fell due since a time are made up for.
func (l *link) activate(handed *handLink, since int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wasHeld := l.held
	l.setHeld(false, handed)
	if wasHeld {
		l.makeUp(since)
	}
	l.settleState()
}

// maxMakeUp is how long nobody may have had a link so that the polls that fell due
// meanwhile are made at once. After longer, what counts is that not all are made
// in one moment.
const maxMakeUp = time.Second

// makeUp has polls that fell due since a time made at once, each with its own due time.
func (l *link) makeUp(since int64) {
	now := l.e.clock.now()
	for _, d := range l.devices {
		for _, g := range d.groups {
			if due := g.grid.After(now) - g.grid.Period; g.handed == 0 && g.grid.Period > 0 && !d.health.demoted && due > since {
				g.handed = due
			}
		}
	}
}

func (l *link) setHeld(held bool, handed *handLink) {
	if handed != nil && l.held {
		l.handed = handed
	}
	if l.held && !held {
		l.restore()
	}
	l.held = held
}

// settleState opens or closes the link as it is wanted now.
func (l *link) settleState() {
	active := !l.removed && !l.held && !l.spec.Offline
	switch {
	case active != l.active:
		l.setActive(active)
	case !active && l.session == nil && !l.opening:
		l.stoppedNow()
	}
	l.tellOut()
}

// awaitRest waits until an inactive link has nothing open.
func (l *link) awaitRest(ctx context.Context) error {
	select {
	case <-l.drained():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pickClose closes an open link. One that ends in order ends its subscriptions, and
// the driver is asked what it wants to keep, before.
func (l *link) pickClose(now int64) (job, int64) {
	s := l.session
	if s.keeping {
		return job{}, never // its end signals, or the watchdog's
	}
	if s.keeper != nil && !s.asked && !s.broken && !l.removed && l.crew.calls() == 0 {
		s.cancel()
		if until := l.stopBy + int64(grace); s.subs > 0 && now < until {
			return job{}, until
		}
		s.asked, s.keeping = true, true
		return job{kind: jobKeep, limit: keepLimit}, 0
	}
	s.closing = true
	s.cancel()
	return job{kind: jobClose, limit: closeLimit}, 0
}

func (l *link) finishKeep(r *runner, fault *driver.Error) {
	r.session.keeping = false
	if fault == nil && len(r.kept) > driver.MaxKept {
		fault = driver.Errorf(driver.Internal, "%d bytes to keep are more than %d", len(r.kept), driver.MaxKept)
	}
	if fault != nil {
		l.log.Warn("the driver keeps nothing of the link", "code", fault.Code.String(), "err", fault)
		return
	}
	l.kept = r.kept
}

// cutShort tells whether a poll failed because the link was stopped: its answer was not
// taken, and whoever has the link next makes it.
func (l *link) cutShort(r *runner, fault *driver.Error) bool {
	s := r.session
	return fault != nil && !l.active && !s.broken && s.ctx.Err() != nil
}

// keepDue remembers when the groups are due, when a session ends in order.
func (l *link) keepDue() {
	orderly := l.held && !l.session.broken
	for _, d := range l.devices {
		d.health.patience = 0
		if orderly {
			d.health.patience = d.health.holdUntil
		}
		for _, g := range d.groups {
			g.handed = 0
			if orderly && g.queued && !g.off && g.grid.Period > 0 && !d.health.demoted && !d.out() {
				g.handed = g.due
			}
		}
	}
	if orderly {
		l.restAt = l.e.clock.now()
	}
}

var errReopened = errors.New("it was activated again meanwhile")

// handOver writes what the link hands over, once: a link that is drained again, or
// was never open, passes on what it has.
func (l *link) handOver() (*handLink, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		return nil, driver.Errorf(driver.Busy, "drain link %s: %w", l.name, errReopened)
	}
	if l.handed != nil {
		return l.handed, nil
	}
	h := &handLink{Name: l.name, At: l.restAt, Shift: l.shift, Kept: l.kept, own: true}
	for _, d := range l.devices {
		h.Devices = append(h.Devices, d.handOver(l.e.ring.Gaps()))
	}
	l.handed = h
	return h, nil
}

func (d *device) handOver(gaps uint64) handDevice {
	h := handDevice{Name: d.spec.Name, First: d.spec.FirstHandle, Told: d.told}
	d.health.handOver(&h)
	for _, g := range d.groups {
		if g.handed != 0 {
			if h.Due == nil {
				h.Due = map[string]int64{}
			}
			h.Due[g.class.Name] = g.handed
		}
	}
	if d.values.gaps == gaps {
		h.Last = d.values.appendLast(nil)
	}
	return h
}

// restore makes what was handed over the link's own, before it is opened.
func (l *link) restore() {
	h := l.handed
	l.handed = nil
	now := l.e.clock.now()
	fresh := h != nil && h.At >= now-int64(maxSwitch) && h.At <= now+int64(maxSwitch)
	if h != nil && !h.own {
		l.kept = h.Kept
		l.shift = h.Shift
	}
	for _, d := range l.devices {
		for _, g := range d.groups {
			g.grid = l.gridOf(d.spec.Name, g.class)
			if h == nil || !fresh {
				g.handed = 0
			}
		}
		switch {
		case h == nil:
		case h.own:
			clear(d.values.last) // another process may have sent since
			l.conditions.demoted(d)
		default:
			l.restoreDevice(d, h.device(d.spec.Name), fresh)
		}
	}
}

// restoreDevice makes what was handed over a device's own. h may be nil.
func (l *link) restoreDevice(d *device, h *handDevice, fresh bool) {
	clear(d.values.last)
	d.told = h != nil && h.Told && h.First == d.spec.FirstHandle
	if !fresh {
		h = nil
	}
	for _, g := range d.groups {
		g.handed = 0
		if h != nil {
			g.handed = h.Due[g.class.Name]
		}
	}
	d.health.restore(h, l.e.clock.now(), d.period(), len(d.table.all.points) > 0)
	if h == nil {
		return
	}
	if h.First == d.spec.FirstHandle {
		d.values.gaps = l.e.ring.Gaps()
		d.values.readLast(h.Last)
	} else {
		d.health.badAt = 0 // those were other points
	}
	l.conditions.demoted(d)
}

// dueFirst is when a group is polled first: on its grid, or at the time that passed,
// or will come, while the link changed hands.
func (g *group) dueFirst(at int64) int64 {
	handed := g.handed
	g.handed = 0
	if handed == 0 || handed > at+g.grid.Period || handed < at-g.grid.Period-int64(maxSwitch) {
		return g.grid.First(at)
	}
	return handed
}
