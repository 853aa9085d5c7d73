package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

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
	if e.links.isClosed() {
		return nil, errClosed
	}
	if faults, err := e.Validate(ctx, s); len(faults) > 0 || err != nil {
		return faults, err
	}
	handed := e.readHandOff(o.HandOff)
	tables := newTableCache(e.tables)
	old, fresh := e.links.byName, []*link(nil) // only this goroutine changes it
	next, order := make(map[string]*link, len(s.Links)), []string(nil)
	if o.Part {
		next, order = e.links.without(o.Remove)
	}
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
	e.links.set(next, order)
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
		next[spec.Name].want(wish{
			held: o.Standby || held[spec.Name], handed: handed[spec.Name], since: never, offline: &spec.Offline,
		})
	}
	e.meters.keep(next)
	e.keepTables()
	return nil, nil
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
	l = e.links.byName[spec.Name]
	if l != nil && sameLink(&l.spec, spec) {
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

// keepTables remembers the compiled tables in use for the next state.
func (e *Engine) keepTables() {
	used := map[*table]bool{}
	e.tables = e.tables[:0]
	for _, l := range e.links.byName {
		l.mu.Lock()
		for _, d := range l.roster.devices {
			if !used[d.table] {
				used[d.table] = true
				e.tables = append(e.tables, d.table)
			}
		}
		l.mu.Unlock()
	}
}

// sameLink reports whether nothing of a link itself differs from another specification.
func sameLink(l, spec *control.Link) bool {
	timeout := spec.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return bytes.Equal(l.Settings, spec.Settings) && l.Timeout == timeout && l.Gap == spec.Gap &&
		slices.Equal(l.Classes, spec.Classes)
}

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
	if e.links.isClosed() {
		return nil, nil, errClosed
	}
	if links, err = e.links.named(names); err != nil {
		return nil, nil, err
	}
	for _, l := range links {
		l.want(wish{held: true, since: never})
	}
	if len(names) == 0 {
		here := make(map[*link]bool, len(links))
		for _, l := range links {
			here[l] = true
		}
		removed = slices.DeleteFunc(e.links.all(), func(l *link) bool { return here[l] })
	}
	return links, removed, nil
}

// Activate opens links that were applied in standby, held or drained; those that
// are open already go on. It returns before they are connected.
func (e *Engine) Activate(ctx context.Context, names []string, o control.ActivateOptions) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	if e.links.isClosed() {
		return errClosed
	}
	links, err := e.links.named(names)
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
		l.want(wish{handed: handed[l.name], since: since})
	}
	return nil
}

// readHandOff reads a hand-off and puts its times on this engine's grid. One that
// cannot be read costs what it is for and no more, so it is only logged.
func (e *Engine) readHandOff(data []byte) map[string]*handLink {
	if len(data) == 0 {
		return nil
	}
	h := &handOff{}
	if err := json.Unmarshal(data, h); err != nil {
		e.log.Warn("the hand-off cannot be read and is left out", "driver", e.info.Name, "err", err)
		return nil
	}
	delta := e.clock.skew() - h.Skew
	links := make(map[string]*handLink, len(h.Links))
	for i := range h.Links {
		l := &h.Links[i]
		if time.Duration(delta).Abs() >= maxSkew || time.Duration(l.Shift).Abs() >= maxSkew {
			l = &handLink{Name: l.Name, Kept: l.Kept}
		}
		l.move(delta)
		links[l.Name] = l
	}
	return links
}

// handOver writes what the links at rest hand over.
func (e *Engine) handOver(links []*link) ([]byte, error) {
	h := handOff{Skew: e.clock.skew(), Links: make([]handLink, 0, len(links))}
	whole := !e.ring.OwesGap()
	size, left := 0, 0
	for _, l := range links {
		part, err := l.handOver()
		if err != nil {
			return nil, err
		}
		out := *part
		if !whole {
			out = out.without()
		}
		if size += out.size(); size > maxHandOff {
			left++
			continue
		}
		h.Links = append(h.Links, out)
	}
	if left > 0 {
		e.log.Warn("the hand-off is too long: what is kept of some links is left out", "driver", e.info.Name, "links", left)
	}
	data, err := json.Marshal(&h)
	if err != nil {
		return nil, driver.Errorf(driver.Internal, "write the hand-off: %w", err)
	}
	return data, nil
}
