package supervise

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// abilityLinks is what a driver announces that takes its links one by one.
const abilityLinks = "links"

// life is one process, from its launch to its end. Its pool's mu guards all but the intake.
type life struct {
	m       *member // constant, as are those to the next blank line
	proc    Process
	version string
	hash    string
	whole   bool // it takes all of its links or none
	started time.Time
	gone    chan struct{} // closed with over

	adopted  *adoption // nil: this core has launched it
	busy     bool      // an operation is in hand
	killed   bool
	cause    error // why it was killed
	retiring bool  // it is being drained to be stopped, or let go
	over     bool  // the process is dead, or going
	holds    int   // links; see link.give
	opening  int   // links of the activation in hand
	pace     pace

	record lifeRecord
	given  delivery
	stream stream
	intake intake
}

// adoption is what is known of a process that goes on from an earlier core.
type adoption struct {
	next    bool   // its version was not in force yet
	claimed bool   // it is known which links it has
	backlog uint64 // the sequence up to which it had frames
}

// newLife is the life of a process. image is nil where it was launched by an earlier core,
// or without one.
func newLife(m *member, proc Process, image Image) *life {
	d := proc.Description()
	l := &life{m: m, proc: proc, version: d.Version, started: time.Now(), pace: firstPace,
		whole: !slices.Contains(d.Abilities, abilityLinks), gone: make(chan struct{})}
	if image != nil {
		l.version, l.hash = image.Version(), image.Hash()
	}
	l.given = delivery{life: l, parts: !l.whole && slices.Contains(d.Abilities, abilityParts)}
	l.stream = stream{life: l, brokeAt: time.Now()}
	m.began = l.started
	l.intake.open(m.pool.in, l, d.ProcessEpoch)
	return l
}

// operate runs one operation of the life, and then after with the lock held, unless
// the life is over by then.
func (l *life) operate(limit time.Duration, f func(ctx context.Context) error, after func(error)) {
	p := l.m.pool
	l.busy = true
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.hurry, limit)
		defer cancel()
		err := f(ctx)
		p.do(func() {
			l.busy = false
			if !l.over && !isDone(l.proc.Done()) {
				after(err)
			}
		})
	})
}

// pacedOperate is operate for a call about n links. The next step is larger or smaller
// by the time that this one took.
func (l *life) pacedOperate(limit time.Duration, n int, f func(ctx context.Context) error, after func(error)) {
	began := time.Now()
	l.operate(allowance(limit, n), f, func(err error) {
		l.pace.adapt(n, time.Since(began))
		after(err)
	})
}

// isReady reports whether the process can be given a link at once.
func (l *life) isReady(name string) bool {
	return !l.busy && !l.over && !l.killed && l.stream.attachment != nil && l.given.isCurrent() && l.given.has[name] != nil
}

// isDrainable reports whether links can be taken from the process at once: not where it has
// much to give before it can give anything else, what it had when it was adopted, or what a
// full disk does not take.
func (l *life) isDrainable() bool {
	behind := l.intake.vitals.blocked() || l.adopted != nil && l.intake.frames.takenUpTo() < l.adopted.backlog
	return !l.busy && !l.over && !l.killed && !behind
}

// claim gives the life the links that are open in its process, which was adopted.
func (l *life) claim(s *control.Status) {
	l.adopted.claimed, l.adopted.backlog = true, max(s.Ring.NextSequence, 1)-1
	for i := range s.Links {
		switch s.Links[i].Condition {
		case control.NotStarted, control.Stopped:
			continue
		}
		l.m.pool.links.claim(s.Links[i].Name, l)
	}
}

// activate opens links in the process. It holds them from now on, whatever comes
// of it.
func (l *life) activate(links []*link, by *handOff) {
	if l.holds == 0 {
		l.intake.frames.startOver()
	}
	names := make([]string, len(links))
	for i, ln := range links {
		ln.give(l)
		ln.handOff, names[i] = nil, ln.name
	}
	o := control.ActivateOptions{Since: l.m.pool.losses.give(l, names)}
	if by != nil {
		o.HandOff = by.data
	}
	if l.whole {
		names = nil // all of them: it cannot do less
	}
	l.opening = len(links)
	l.pacedOperate(activateLimit, len(links), func(ctx context.Context) error {
		return l.proc.Activate(ctx, names, o)
	}, func(err error) {
		l.opening = 0
		if err != nil {
			l.kill(fmt.Errorf("activate link %s: %w", links[0].name, err))
		}
	})
}

// drain closes links in the process, waits until their last frames have been taken
// in, so that no frame of the next holder comes before them, and frees them.
func (l *life) drain(links []*link) {
	names := make([]string, len(links))
	for i, ln := range links {
		ln.moving, names[i] = true, ln.name
	}
	if l.whole {
		names = nil
	}
	h, limit := new(handOff), moveLimit
	if l.m.candidate {
		limit = backLimit // it is being taken back, and hangs perhaps
	}
	limit = allowance(limit, len(links))
	l.operate(switchLimit, func(ctx context.Context) error {
		call, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		drained, err := l.proc.Drain(call, names)
		if err != nil {
			return err
		}
		h.data = drained.HandOff
		return l.await(ctx, limit, drained.LastSequence, l.intake.frames.takenUpTo)
	}, func(err error) {
		for _, ln := range links {
			ln.moving = false
			if err == nil {
				ln.give(nil)
				ln.handOff = h
			}
		}
		l.m.pool.links.prune(nil)
		if err != nil {
			l.kill(fmt.Errorf("drain link %s: %w", links[0].name, err))
		}
	})
}
