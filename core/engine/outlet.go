package engine

import (
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
)

// An outlet is the way of samples from a device to the ring: they are shaped, kept as the
// device's last values, and go to the batcher. It is the engine's, for all links; the lock
// of the device's link is held in every call.
type outlet struct {
	ring    *replay.Ring
	batcher *batcher
	answers answerPool
	clock   *clock
}

// send sends samples of a set of a device's points. A fault is that of those without one.
func (o *outlet) send(g *group, s *set, samples []driver.Sample, fault *driver.Error, now time.Time) outcome {
	d := g.d
	found := d.values.shape(s, samples, fault, now.UnixNano(), o.ring.Gaps())
	d.count(found)
	o.batcher.add(&lot{
		first: d.spec.FirstHandle, index: s.index, samples: samples, at: now.UnixNano(), policy: g.class.Policy,
	}, o.clock.at(now))
	return found
}

// polled sends the answer of a poll and keeps it as the group's last, in exchange for the
// one before, which it returns. own says that nobody else may still write to it.
func (o *outlet) polled(g *group, a *answer, samples []driver.Sample, own bool, fault *driver.Error, now time.Time) (free *answer, found outcome) {
	found = o.send(g, g.set, samples, fault, now)
	if own {
		return g.d.values.keepLast(g, g.set, a, now.UnixNano(), found.bad), found
	}
	o.answers.put(g.d.values.keepLast(g, g.set, &answer{samples: samples}, now.UnixNano(), found.bad))
	return a, found
}

// allBad gives every point of a set a Bad sample.
func (o *outlet) allBad(g *group, s *set, fault *driver.Error, now time.Time) {
	a := o.answers.get(len(s.points))
	o.send(g, s, a.samples, fault, now)
	o.answers.put(g.d.values.keepLast(g, s, a, now.UnixNano(), true))
}

// bad gives every readable point of a device a Bad sample, except those of a
// group that has theirs. It does so at most once a minute while nothing answers.
func (o *outlet) bad(d *device, fault *driver.Error, except *group) {
	now := time.Now()
	if !d.health.becomesBad(o.clock.at(now)) {
		return
	}
	for _, g := range d.groups {
		if g != except {
			o.allBad(g, g.set, fault, now)
		}
	}
}

// offline gives every point of a device that was taken off line its one Bad sample, also
// those that were left out of its polls.
func (o *outlet) offline(d *device) {
	d.told = true
	d.values.forget(o.ring.Gaps()) // whatever the points said last, they say this now
	now := time.Now()
	for i, s := range d.table.sets { // one for each group
		o.allBad(d.groups[i], s, errOffline, now)
	}
}

// pushed sends samples that a device has sent by itself; stored may be nil.
func (o *outlet) pushed(d *device, s *set, samples []driver.Sample, policy control.Policy, stored func()) {
	now := time.Now().UnixNano()
	d.count(d.values.shape(s, samples, nil, now, o.ring.Gaps()))
	d.health.badAt = 0
	l := &lot{first: d.spec.FirstHandle, index: s.index, samples: samples, at: now, policy: policy, pushed: true}
	d.values.keepPushed(l)
	o.batcher.emit(l, stored)
}

// An answer is the samples of one call. It comes from a pool, so that there are as many
// as polls in flight and not as many as links.
type answer struct{ samples []driver.Sample }

type answerPool struct{ pool sync.Pool }

// get gives zero samples.
func (p *answerPool) get(n int) *answer {
	a, ok := p.pool.Get().(*answer)
	if !ok {
		a = &answer{}
	}
	if cap(a.samples) < n {
		a.samples = make([]driver.Sample, n)
	}
	a.samples = a.samples[:n]
	return a
}

// put takes an answer back that nobody uses any more. nil is none.
func (p *answerPool) put(a *answer) {
	if a == nil {
		return
	}
	clear(a.samples)
	p.pool.Put(a)
}
