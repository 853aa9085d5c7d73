package supervise

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// abilityParts is what a driver announces whose state may come in parts.
	abilityParts = "parts"

	// A step is about some hundred links, so that a process is given thousands of them with
	// a deadline for each step, and a busy one is given fewer at a time.
	firstPace  = 256
	leastPace  = 16
	mostPace   = 1024
	quickStep  = 500 * time.Millisecond
	slowStep   = 2 * time.Second
	pacedSteps = 128 // in how many steps links change hands at least, where there are many
)

// view is what the links that a process is to have depend on.
type view struct {
	state                  *control.State
	shards, index, primary int
}

// view is what the process has to have now.
func (l *life) view() view {
	p := l.m.pool
	return view{state: p.demand.desired.State, shards: len(p.roster.shards), index: l.m.index, primary: p.roster.primaryOf(l.m)}
}

// current reports whether the process has been given all that it is to have.
func (l *life) current() bool {
	return l.applied == l.m.pool.demand.desired.State && (!l.parts || l.taken == l.view())
}

// wants reports whether the process may have to open a link: one of its shard, or that it
// has. A spare may have to open any.
func (l *life) wants(ln *link) bool {
	m, sh := l.m, l.m.pool.links.shardOf(ln)
	return !l.parts || m.index < 0 || sh == nil || ln.holder == l || sh.index == m.index || sh.primary == m
}

// part is one step towards what a process is to have.
type part struct {
	set    []*control.Link
	remove []string
	left   int // links that the steps after it are about
}

// nextPart finds links that are new or have changed, and those that are not desired any
// more. Of links that are the same it only notes where they are now.
func (l *life) nextPart() (s part) {
	p := l.m.pool
	take := func(spec *control.Link) {
		if l.whole || !l.parts || l.unknown || len(s.set)+len(s.remove) < l.pace {
			s.set = append(s.set, spec)
		} else {
			s.left++
		}
	}
	for i := range p.demand.desired.State.Links {
		spec := &p.demand.desired.State.Links[i]
		has := l.has[spec.Name]
		switch {
		case !l.wants(p.links.byName[spec.Name]):
		case l.parts && !l.unknown && (has == spec || has != nil && p.links.compared.same(has, spec)):
			l.has[spec.Name] = spec
		default:
			take(spec)
		}
	}
	if !l.parts || l.unknown {
		return s // which is the whole
	}
	for name := range l.has {
		if ln := p.links.byName[name]; ln != nil && ln.spec != nil {
			continue
		}
		if len(s.set)+len(s.remove) < l.pace {
			s.remove = append(s.remove, name)
		} else {
			s.left++
		}
	}
	return s
}

// given notes that the process was given all of a view.
func (l *life) given(v view) {
	if l.applied != v.state {
		l.appliedAt = time.Now()
	}
	l.applied, l.taken, l.pending = v.state, v, 0
}

// took notes that the process has all of a view.
func (l *life) took(v view) {
	l.given(v)
	l.refused, l.accepted = "", true
	if v.state == l.m.pool.demand.desired.State {
		l.m.pool.links.prune(l)
	}
}

// apply gives the process the desired state, or the next part of it. What it does not
// hold stays closed: moveLinks activates it, where it belongs to it. It reports whether
// there was anything to give.
func (l *life) apply() bool {
	p := l.m.pool
	v, step := l.view(), l.nextPart()
	if l.parts && l.applied != nil && len(step.set)+len(step.remove) == 0 {
		l.took(v)
		return false
	}
	l.pending = len(step.set) + len(step.remove) + step.left
	want := &control.State{Revision: v.state.Revision, Links: make([]control.Link, len(step.set))}
	o := control.ApplyOptions{Standby: true, Part: l.parts && !l.unknown, Remove: step.remove}
	for i, spec := range step.set {
		want.Links[i] = *spec
		ln := p.links.byName[spec.Name]
		if l.whole && ln.holder == nil && l.held() > 0 {
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
	if !l.parts {
		want = v.state
	}
	var faults []*driver.ConfigError
	l.pacedOperate(applyLimit, len(step.set)+len(step.remove), func(ctx context.Context) (err error) {
		faults, err = l.proc.Apply(ctx, want, o)
		return err
	}, func(err error) {
		switch {
		case err != nil:
			l.kill(fmt.Errorf("apply revision %d: %w", want.Revision, err))
		case len(faults) > 0:
			l.given(v)
			l.setRefused(faults, want)
		default:
			l.unknown = false
			l.note(step)
			if l.pending = step.left; step.left == 0 {
				l.took(v)
			}
		}
	})
	return true
}

// note takes a step that was accepted into what the process has.
func (l *life) note(step part) {
	if l.has == nil || !l.parts {
		l.has = make(map[string]*control.Link, len(step.set))
	}
	for _, spec := range step.set {
		l.has[spec.Name] = spec
	}
	for _, name := range step.remove {
		delete(l.has, name)
	}
}

// trim takes links from a process that it has no more to do with, once all have changed
// hands: nobody waits for that.
func (l *life) trim() {
	if !l.parts || l.unknown || l.busy || l.over || l.killed || l.retiring || !l.current() || l.refused != "" || l.trimmed == l.taken {
		return
	}
	var remove []string
	for name := range l.has {
		if ln := l.m.pool.links.byName[name]; ln != nil && !l.wants(ln) && len(remove) < l.pace {
			remove = append(remove, name)
		}
	}
	if len(remove) == 0 {
		l.trimmed = l.taken
		return
	}
	none := &control.State{Revision: l.applied.Revision}
	l.pacedOperate(applyLimit, len(remove), func(ctx context.Context) error {
		_, err := l.proc.Apply(ctx, none, control.ApplyOptions{Part: true, Remove: remove})
		return err
	}, func(err error) {
		if err != nil {
			l.kill(fmt.Errorf("take links that others have: %w", err))
			return
		}
		l.note(part{remove: remove})
	})
}

// pacedOperate is operate for a call about n links. The next step is larger or smaller
// by the time that this one took.
func (l *life) pacedOperate(limit time.Duration, n int, f func(ctx context.Context) error, after func(error)) {
	began := time.Now()
	l.operate(allowance(limit, n), f, func(err error) {
		switch took := time.Since(began); {
		case took > slowStep:
			l.pace = max(l.pace/2, leastPace)
		case took < quickStep && n >= l.pace:
			l.pace = min(2*l.pace, mostPace)
		}
		after(err)
	})
}
