package supervise

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// abilityParts is what a driver announces whose state may come in parts.
const abilityParts = "parts"

const (
	// A step is about some hundred links, so that a process is given thousands of them with
	// a deadline for each step, and a busy one is given fewer at a time.
	firstPace  = 256
	leastPace  = 16
	mostPace   = 1024
	quickStep  = 500 * time.Millisecond
	slowStep   = 2 * time.Second
	pacedSteps = 128 // in how many steps links change hands at least, where there are many
)

// pace is how many links one step is about.
type pace int

// adapt makes the next step larger or smaller by the time that one about n links took.
func (p *pace) adapt(n int, took time.Duration) {
	switch {
	case took > slowStep:
		*p = max(*p/2, leastPace)
	case took < quickStep && n >= int(*p):
		*p = min(2**p, mostPace)
	}
}

// view is what the links that a process is to have depend on.
type view struct {
	state                  *control.State
	shards, index, primary int
}

// part is one step towards what a process is to have.
type part struct {
	set    []*control.Link
	remove []string
	left   int // links that the steps after it are about
}

func (s *part) size() int { return len(s.set) + len(s.remove) }

// delivery gives one process the desired state, whole or in parts, and knows what it has of
// it. The pool's mu guards it.
type delivery struct {
	life  *life // constant
	parts bool  // the state may come in parts; constant

	state    *control.State           // that it was given last, wholly
	at       time.Time                // when it was
	unknown  bool                     // with parts: it has a state of an earlier core
	taken    view                     // that it has been given all of
	trimmed  view                     // the view by which it has nothing that others have
	accepted bool                     // a state
	pending  int                      // links that it is still to be given
	has      map[string]*control.Link // the links that it accepted last
	refused  string                   // why it refused the state that it was given last
}

// view is what the process has to have now.
func (d *delivery) view() view {
	m, p := d.life.m, d.life.m.pool
	return view{state: p.demand.desired.State, shards: len(p.roster.shards), index: m.index, primary: p.roster.primaryOf(m)}
}

// isCurrent reports whether the process has been given all that it is to have.
func (d *delivery) isCurrent() bool {
	return d.state == d.life.m.pool.demand.desired.State && (!d.parts || d.taken == d.view())
}

// wants reports whether the process may have to open a link: one of its shard, or that it
// has. A spare may have to open any.
func (d *delivery) wants(ln *link) bool {
	m, sh := d.life.m, d.life.m.pool.links.shardOf(ln)
	return !d.parts || m.index < 0 || sh == nil || ln.holder == d.life || sh.index == m.index || sh.primary == m
}

// nextPart finds links that are new or have changed, and those that are not desired any
// more. Of links that are the same it only notes where they are now.
func (d *delivery) nextPart(desired *control.State, links *linkTable) (s part) {
	pace := int(d.life.pace)
	whole := !d.parts || d.unknown
	for i := range desired.Links {
		spec := &desired.Links[i]
		has := d.has[spec.Name]
		switch {
		case !d.wants(links.byName[spec.Name]):
		case d.parts && !d.unknown && (has == spec || has != nil && links.compared.same(has, spec)):
			d.has[spec.Name] = spec
		case whole || s.size() < pace:
			s.set = append(s.set, spec)
		default:
			s.left++
		}
	}
	if whole {
		return s
	}
	for name := range d.has {
		if ln := links.byName[name]; ln != nil && ln.spec != nil {
			continue
		}
		if s.size() < pace {
			s.remove = append(s.remove, name)
		} else {
			s.left++
		}
	}
	return s
}

// given notes that the process was given all of a view.
func (d *delivery) given(v view) {
	if d.state != v.state {
		d.at = time.Now()
	}
	d.state, d.taken, d.pending = v.state, v, 0
}

// took notes that the process has all of a view.
func (d *delivery) took(v view) {
	d.given(v)
	d.refused, d.accepted = "", true
	if p := d.life.m.pool; v.state == p.demand.desired.State {
		p.links.prune(d.life)
	}
}

// apply gives the process the desired state, or the next part of it. What it does not
// hold stays closed: the link table moves it to the process, where it belongs to it. It
// reports whether there was anything to give.
func (d *delivery) apply() bool {
	l, v := d.life, d.view()
	step := d.nextPart(v.state, &l.m.pool.links)
	if d.parts && d.state != nil && step.size() == 0 {
		d.took(v)
		return false
	}
	d.pending = step.size() + step.left
	want, o := d.request(&step, v.state)
	var faults []*driver.ConfigError
	l.pacedOperate(applyLimit, step.size(), func(ctx context.Context) (err error) {
		faults, err = l.proc.Apply(ctx, want, o)
		return err
	}, func(err error) {
		switch {
		case err != nil:
			l.kill(fmt.Errorf("apply revision %d: %w", want.Revision, err))
		case len(faults) > 0:
			d.given(v)
			d.refuse(faults, want)
		default:
			d.unknown = false
			d.note(step)
			if d.pending = step.left; step.left == 0 {
				d.took(v)
			}
		}
	})
	return true
}

// request is the call that gives a step of a state: links that the process does not hold stay
// closed. One that takes all links or none gets those that are new with the call.
func (d *delivery) request(step *part, state *control.State) (*control.State, control.ApplyOptions) {
	l := d.life
	want := &control.State{Revision: state.Revision, Links: make([]control.Link, len(step.set))}
	o := control.ApplyOptions{Standby: true, Part: d.parts && !d.unknown, Remove: step.remove}
	for i, spec := range step.set {
		want.Links[i] = *spec
		ln := l.m.pool.links.byName[spec.Name]
		if l.whole && ln.holder == nil && l.holds > 0 {
			ln.give(l) // it opens what is new by itself
		}
		if ln.holder == l {
			o.Standby = false
		} else {
			o.Hold = append(o.Hold, spec.Name)
		}
	}
	if o.Standby || l.whole {
		o.Hold = nil
	}
	if !d.parts {
		want = state
	}
	return want, o
}

// refuse notes that the process refused a state that it had found valid.
func (d *delivery) refuse(faults []*driver.ConfigError, want *control.State) {
	f := faults[0]
	d.refused = fmt.Sprintf("revision %d refused: %d faults, the first in %s/%s/%s: %s", want.Revision, len(faults), f.Link, f.Device, f.Point, f.Text)
	d.life.m.log().Error("driver refused its configuration", "err", d.refused)
}

// note takes a step that was accepted into what the process has.
func (d *delivery) note(step part) {
	if d.has == nil || !d.parts {
		d.has = make(map[string]*control.Link, len(step.set))
	}
	for _, spec := range step.set {
		d.has[spec.Name] = spec
	}
	for _, name := range step.remove {
		delete(d.has, name)
	}
}

// trim takes links from the process that it has no more to do with, once all have changed
// hands: nobody waits for that.
func (d *delivery) trim() {
	l := d.life
	if !d.parts || d.unknown || l.busy || l.over || l.killed || l.retiring || !d.isCurrent() || d.refused != "" || d.trimmed == d.taken {
		return
	}
	var remove []string
	for name := range d.has {
		if ln := l.m.pool.links.byName[name]; ln != nil && !d.wants(ln) && len(remove) < int(l.pace) {
			remove = append(remove, name)
		}
	}
	if len(remove) == 0 {
		d.trimmed = d.taken
		return
	}
	none := &control.State{Revision: d.state.Revision}
	l.pacedOperate(applyLimit, len(remove), func(ctx context.Context) error {
		_, err := l.proc.Apply(ctx, none, control.ApplyOptions{Part: true, Remove: remove})
		return err
	}, func(err error) {
		if err != nil {
			l.kill(fmt.Errorf("take links that others have: %w", err))
			return
		}
		d.note(part{remove: remove})
	})
}

// tableComparison keeps which tables, which many devices share, were found to be the same.
type tableComparison map[[2]*control.Table]bool

// same reports whether nothing of a link has changed. Tables are compared once.
func (c *tableComparison) same(a, b *control.Link) bool {
	if a.Timeout != b.Timeout || a.Gap != b.Gap || a.Offline != b.Offline || len(a.Devices) != len(b.Devices) ||
		!bytes.Equal(a.Settings, b.Settings) || !slices.Equal(a.Classes, b.Classes) {
		return false
	}
	for i := range a.Devices {
		x, y := &a.Devices[i], &b.Devices[i]
		if x.Name != y.Name || x.FirstHandle != y.FirstHandle || x.Offline != y.Offline || !bytes.Equal(x.Settings, y.Settings) || !c.sameTable(x.Table, y.Table) {
			return false
		}
	}
	return true
}

func (c *tableComparison) sameTable(a, b *control.Table) bool {
	if a == b {
		return true
	}
	pair := [2]*control.Table{a, b}
	same, known := (*c)[pair]
	if !known {
		same = reflect.DeepEqual(a, b)
		if *c == nil {
			*c = make(tableComparison)
		}
		(*c)[pair] = same
	}
	return same
}
