package engine

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

var errClosed = &driver.Error{Code: driver.NotConnected, Text: "the engine is closed"}

// Apply makes the state the one that runs, or with o.Part a part of it. With faults it
// changes nothing. Links and devices that are the same as before are not touched; a
// device that changed is prepared anew on the open link. The engine keeps s: it must not
// be changed afterwards.
func (e *Engine) Apply(ctx context.Context, s *control.State, o control.ApplyOptions) ([]*driver.ConfigError, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	if e.isClosed() {
		return nil, errClosed
	}
	if faults, err := e.Validate(ctx, s); len(faults) > 0 || err != nil {
		return faults, err
	}
	handed := e.readHandOff(o.HandOff)
	tables := newTableCache(e.tables)
	next, order, fresh := make(map[string]*link, len(s.Links)), []string(nil), []*link(nil)
	if o.Part {
		next, order = e.without(o.Remove)
	}
	old := e.links // only this goroutine changes it
	for i := range s.Links {
		l, isNew := e.linkFor(&s.Links[i], tables)
		if isNew {
			fresh = append(fresh, l)
		}
		if next[l.name] == nil {
			order = append(order, l.name)
		}
		next[l.name] = l
	}
	e.mu.Lock()
	e.links, e.order = next, order
	e.mu.Unlock()
	for name, l := range old {
		if next[name] != l {
			l.remove()
		}
	}
	for _, l := range fresh {
		l.start()
	}
	held := setOf(o.Hold)
	for i := range s.Links {
		spec := &s.Links[i]
		next[spec.Name].want(o.Standby || held[spec.Name], spec.Offline, handed[spec.Name])
	}
	e.meters.keep(next)
	e.keepTables()
	return nil, nil
}

// without copies the links but for some.
func (e *Engine) without(names []string) (map[string]*link, []string) {
	left, gone := maps.Clone(e.links), setOf(names)
	for name := range gone {
		delete(left, name)
	}
	return left, slices.DeleteFunc(slices.Clone(e.order), func(name string) bool { return gone[name] })
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// linkFor is the link of a spec: the one that there is, where nothing of the link itself
// has changed, else a new one.
func (e *Engine) linkFor(spec *control.Link, tables *tableCache) (l *link, isNew bool) {
	l = e.links[spec.Name]
	if l != nil && l.same(spec) {
		l.reconfigure(spec.Devices, tables)
		return l, false
	}
	var after <-chan struct{}
	if l != nil {
		after = l.done
	}
	l = newLink(e, *spec, after)
	l.reconfigure(spec.Devices, tables)
	return l, true
}

// want holds the link, or not, and takes it off line, or not.
func (l *link) want(held, offline bool, handed *handLink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setHeld(held, handed)
	l.spec.Offline = offline
	l.settleState()
}

func (e *Engine) isClosed() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.closed
}

// keepTables remembers the compiled tables in use for the next state.
func (e *Engine) keepTables() {
	used := map[*table]bool{}
	e.tables = e.tables[:0]
	for _, l := range e.links {
		l.mu.Lock()
		for _, d := range l.devices {
			if !used[d.table] {
				used[d.table] = true
				e.tables = append(e.tables, d.table)
			}
		}
		l.mu.Unlock()
	}
}

// same tells whether nothing of the link itself has changed.
func (l *link) same(spec *control.Link) bool {
	timeout := spec.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return bytes.Equal(l.spec.Settings, spec.Settings) && l.spec.Timeout == timeout && l.spec.Gap == spec.Gap &&
		slices.Equal(l.spec.Classes, spec.Classes)
}

// reconfigure makes these the link's devices.
func (l *link) reconfigure(specs []control.Device, tables *tableCache) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := make(map[string]*device, len(l.devices))
	for _, d := range l.devices {
		old[d.spec.Name] = d
	}
	next := make([]*device, 0, len(specs))
	changed := false
	for i := range specs {
		spec := &specs[i]
		t := tables.get(spec.Table)
		was := old[spec.Name]
		if was != nil && was.table == t && was.spec.FirstHandle == spec.FirstHandle && bytes.Equal(was.spec.Settings, spec.Settings) {
			delete(old, spec.Name)
			next = append(next, was)
			l.takeOffline(was, spec.Offline)
			continue
		}
		changed = true
		next = append(next, l.replace(was, *spec, t))
	}
	for _, d := range old {
		changed = true
		l.forget(d)
	}
	l.devices = next
	if changed {
		l.stopped = nil
		l.crew.signal()
	}
}

// replace makes a device, in the place of was, which may be nil.
func (l *link) replace(was *device, spec control.Device, t *table) *device {
	d := newDevice(l, spec, t)
	if was != nil {
		condition := d.status
		d.status = was.status
		d.status.Condition, d.status.Cause = condition.Condition, condition.Cause
		d.after, d.afterBy = was.sub, l.e.clock.now()+int64(grace)
	}
	d.status.Since = l.conditions.link.Since
	if d.spec.Offline {
		d.status.Condition, d.status.Cause = control.Stopped, errOffline
	} else if s := l.session; s != nil && !s.broken {
		l.agenda.unready = append(l.agenda.unready, d)
	}
	return d
}

// forget takes a device out that is no longer configured as it was.
func (l *link) forget(d *device) {
	d.gone = true
	if d.sub != nil {
		d.sub.cancel()
	}
	l.agenda.refuse(errChanged, d)
	l.agenda.leave(d)
}
