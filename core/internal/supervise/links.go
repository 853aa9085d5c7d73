package supervise

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// groupSize is how many links are drained and activated by one call. More need fewer
// calls, and are closed as long as the slowest of them takes.
const groupSize = 4

// link is who has a link, or had it.
type link struct {
	name    string
	home    int      // the number of its shard, ...
	among   int      // ... of so many; 0: not known yet
	holder  *life    // nil: it is closed everywhere
	moving  bool     // its holder drains it
	handOff *handOff // of the last holder, for the next; nil: none

	spec    *control.Link // of the desired state; nil: it is not in it any more
	told    told          // by its holder; zero: nothing yet
	devices []told        // of spec's devices, in their order; nil: nothing yet
}

// handOff is what a process answered when it drained links.
type handOff struct{ data []byte }

// setLinks makes the table fit the desired state. What the state has no more stays
// until its holder has closed it.
func (p *pool) setLinks() {
	wanted := make(map[string]bool)
	if p.desired.State != nil {
		p.tracker.forget(p.desired.State)
		for i := range p.desired.State.Links {
			spec := &p.desired.State.Links[i]
			wanted[spec.Name] = true
			if p.links[spec.Name] == nil {
				p.links[spec.Name] = &link{name: spec.Name}
			}
			p.links[spec.Name].want(spec)
		}
	}
	p.tables = nil
	p.unwanted = 0
	for name, ln := range p.links {
		if !wanted[name] {
			ln.want(nil)
			p.unwanted++
		}
	}
	p.prune(nil)
	p.settleLosses()
}

// prune forgets links that are not desired any more and closed, or held by a life that
// has just been given the desired state.
func (p *pool) prune(l *life) {
	if p.unwanted == 0 {
		return
	}
	maps.DeleteFunc(p.links, func(_ string, ln *link) bool {
		if ln.spec != nil || ln.moving || ln.holder != nil && ln.holder != l {
			return false
		}
		ln.give(nil)
		p.unwanted--
		return true
	})
}

// shardOf is the shard of a link: the one whose number, hashed together with the
// link's name, gives the highest value. So a new number of shards moves no more
// links than it must.
func (p *pool) shardOf(ln *link) *shard {
	if len(p.shards) == 0 {
		return nil
	}
	if ln.among != len(p.shards) {
		ln.home, ln.among = rendezvous(ln.name, len(p.shards)), len(p.shards)
	}
	return p.shards[ln.home]
}

func rendezvous(name string, shards int) (best int) {
	var highest uint64
	for i := range shards {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d/%s", i, name) // a hash takes everything
		if v := mix(h.Sum64()); i == 0 || v > highest {
			best, highest = i, v
		}
	}
	return best
}

// mix spreads the bits of a hash, of which FNV's highest change least with the
// last bytes (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// devicesOf returns how many devices a link has, if it is desired.
func (p *pool) devicesOf(link string) (n int, desired bool) {
	ln := p.links[link]
	if ln == nil || ln.spec == nil {
		return 0, false
	}
	return len(ln.spec.Devices), true
}

// takesWhole tells that a process of the pool takes all links or none, so that there
// can be one shard only.
func (p *pool) takesWhole() bool {
	return slices.ContainsFunc(p.members, func(m *member) bool { return m.life != nil && m.life.whole })
}

// target is the life that should hold a link; nil: there is none.
func (p *pool) target(ln *link) *life {
	if sh := p.shardOf(ln); sh != nil && sh.primary != nil {
		return sh.primary.life
	}
	return nil
}

// ready tells whether a process can be given a link at once.
func (l *life) ready(name string) bool {
	return !l.busy && !l.over && !l.killed && l.attachment != nil && l.current() && l.has[name] != nil
}

// drainable tells whether links can be taken from the process at once.
func (l *life) drainable() bool { return !l.busy && !l.over && !l.killed && !l.behind() }

// behind reports whether the process has much to give before it can give anything else: what
// it had when it was adopted, or what a full disk does not take.
func (l *life) behind() bool {
	return l.intake.frames.takenUpTo() < l.backlog || l.intake.vitals.blocked()
}

// moveLinks is the rule by which links change hands.
func (p *pool) moveLinks() {
	if p.runs() && p.desired.State != nil && !p.isAdopting() {
		p.startMoves()
	}
	for _, m := range p.members {
		m.settle()
	}
}

// opening is links that one process can be given with one call.
type opening struct {
	to *life
	by *handOff
}

func (p *pool) startMoves() {
	opens := make(map[opening][]*link)
	drains := make(map[*life][]*link)
	astray := p.astray()
	group := max(groupSize, len(astray)/pacedSteps)
	for _, ln := range astray {
		to := p.target(ln)
		switch {
		case to == nil || ln.moving || !to.ready(ln.name):
		case ln.holder == nil:
			key := opening{to, ln.handOff}
			opens[key] = append(opens[key], ln)
		case ln.holder.drainable() && (len(drains[ln.holder]) < group || ln.holder.whole || to.whole):
			drains[ln.holder] = append(drains[ln.holder], ln)
		}
	}
	byName := func(a, b opening) int { return cmp.Compare(opens[a][0].name, opens[b][0].name) }
	for _, key := range slices.SortedFunc(maps.Keys(opens), byName) {
		if !key.to.busy && (!key.to.whole || p.allFree(key.to)) {
			links := opens[key]
			if !key.to.whole { // the others follow
				links = links[:min(len(links), key.to.pace)]
			}
			key.to.activate(links, key.by)
		}
	}
	for from, links := range drains {
		if !from.busy {
			from.drain(links)
		}
	}
	if len(astray) > 0 {
		return
	}
	for _, m := range p.members {
		if m.life != nil {
			m.life.trim()
		}
	}
}

// astray is the links that are not where they should be, by name.
func (p *pool) astray() []*link {
	var list []*link
	for _, ln := range p.links {
		if ln.holder == nil || ln.holder != p.target(ln) {
			list = append(list, ln)
		}
	}
	slices.SortFunc(list, func(a, b *link) int { return cmp.Compare(a.name, b.name) })
	return list
}

// allFree tells that no other process has a link, so that one which takes all of them
// may.
func (p *pool) allFree(to *life) bool {
	for _, ln := range p.links {
		if ln.holder != nil && ln.holder != to || ln.moving {
			return false
		}
	}
	return true
}

// settle names the state that the member is in by what it holds.
func (m *member) settle() {
	l := m.life
	if l == nil || l.over || l.retiring || !l.accepted {
		return
	}
	m.logUp(time.Now())
	if m.state == Starting {
		m.enter(Standby, "") // also one that was adopted with links, which it was at least
	}
	switch {
	case l.held() == 0:
		m.enter(Standby, "")
	case m.pool.isPrimary(m):
		m.enter(Active, "")
	default:
		m.enter(Draining, "its links go to another process")
	}
}

// activate opens links in the process. It holds them from now on, whatever comes
// of it.
func (l *life) activate(links []*link, by *handOff) {
	p := l.m.pool
	if l.held() == 0 {
		l.intake.frames.startOver()
	}
	names := make([]string, len(links))
	for i, ln := range links {
		ln.give(l)
		ln.handOff, names[i] = nil, ln.name
	}
	o := control.ActivateOptions{Since: p.giveLosses(l, names)}
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
	p, h := l.m.pool, new(handOff)
	limit := moveLimit
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
		p.prune(nil)
		if err != nil {
			l.kill(fmt.Errorf("drain link %s: %w", links[0].name, err))
		}
	})
}

// free takes every link from a life that is over.
func (p *pool) free(l *life) {
	for _, ln := range p.links {
		if ln.holder == l {
			ln.give(nil)
			ln.handOff, ln.moving = nil, false
		}
	}
	p.prune(nil)
}
