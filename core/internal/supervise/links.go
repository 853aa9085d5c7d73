package supervise

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

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

// linkTable is the links of a driver: who has which, and who is to have it. The pool's mu
// guards it.
type linkTable struct {
	roster *roster // constant

	byName   map[string]*link
	unwanted int             // of links: those that are not in the desired state any more
	compared tableComparison // of the present state with those before
}

// set makes the table fit the desired state; nil: there is none. What the state has no more
// stays until its holder has closed it.
func (t *linkTable) set(desired *control.State) {
	wanted := make(map[string]bool)
	if desired != nil {
		for i := range desired.Links {
			spec := &desired.Links[i]
			wanted[spec.Name] = true
			if t.byName[spec.Name] == nil {
				t.byName[spec.Name] = &link{name: spec.Name}
			}
			t.byName[spec.Name].want(spec)
		}
	}
	t.compared = nil
	t.unwanted = 0
	for name, ln := range t.byName {
		if !wanted[name] {
			ln.want(nil)
			t.unwanted++
		}
	}
	t.prune(nil)
}

// claim gives a life a link that is open in its process, unless another has it open too: then
// the next Apply closes it in this one.
func (t *linkTable) claim(name string, l *life) {
	ln := t.byName[name]
	if ln == nil {
		ln = &link{name: name}
		t.byName[name] = ln
		t.unwanted++
	}
	if ln.holder == nil {
		ln.give(l)
	}
}

// prune forgets links that are not desired any more and closed, or held by a life that
// has just been given the desired state.
func (t *linkTable) prune(l *life) {
	if t.unwanted == 0 {
		return
	}
	maps.DeleteFunc(t.byName, func(_ string, ln *link) bool {
		if ln.spec != nil || ln.moving || ln.holder != nil && ln.holder != l {
			return false
		}
		ln.give(nil)
		t.unwanted--
		return true
	})
}

// shardOf is the shard of a link: the one whose number, hashed together with the
// link's name, gives the highest value. So a new number of shards moves no more
// links than it must.
func (t *linkTable) shardOf(ln *link) *shard {
	if len(t.roster.shards) == 0 {
		return nil
	}
	if ln.among != len(t.roster.shards) {
		ln.home, ln.among = rendezvous(ln.name, len(t.roster.shards)), len(t.roster.shards)
	}
	return t.roster.shards[ln.home]
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

// devices returns how many devices a link has, if it is desired.
func (t *linkTable) devices(link string) (n int, desired bool) {
	ln := t.byName[link]
	if ln == nil || ln.spec == nil {
		return 0, false
	}
	return len(ln.spec.Devices), true
}

// target is the life that should hold a link; nil: there is none.
func (t *linkTable) target(ln *link) *life {
	if sh := t.shardOf(ln); sh != nil && sh.primary != nil {
		return sh.primary.life
	}
	return nil
}

// opening is links that one process can be given with one call.
type opening struct {
	to    *life
	by    *handOff
	links []*link
}

// moves is the rule by which links change hands: which are to be opened, in the order of their
// names, and which are to be drained from whom. It is settled where every link is where it
// should be.
func (t *linkTable) moves() (opens []*opening, drains map[*life][]*link, settled bool) {
	type key struct {
		to *life
		by *handOff
	}
	found := make(map[key]*opening)
	drains = make(map[*life][]*link)
	astray := t.astray()
	group := max(groupSize, len(astray)/pacedSteps)
	for _, ln := range astray {
		to := t.target(ln)
		switch {
		case to == nil || ln.moving || !to.isReady(ln.name):
		case ln.holder == nil:
			o := found[key{to, ln.handOff}]
			if o == nil {
				o = &opening{to: to, by: ln.handOff}
				found[key{to, ln.handOff}] = o
				opens = append(opens, o)
			}
			o.links = append(o.links, ln)
		case ln.holder.isDrainable() && (len(drains[ln.holder]) < group || ln.holder.whole || to.whole):
			drains[ln.holder] = append(drains[ln.holder], ln)
		}
	}
	return opens, drains, len(astray) == 0
}

// astray is the links that are not where they should be, by name.
func (t *linkTable) astray() []*link {
	var list []*link
	for _, ln := range t.byName {
		if ln.holder == nil || ln.holder != t.target(ln) {
			list = append(list, ln)
		}
	}
	slices.SortFunc(list, func(a, b *link) int { return cmp.Compare(a.name, b.name) })
	return list
}

// allFree reports whether no other process has a link, so that one which takes all of them
// may.
func (t *linkTable) allFree(to *life) bool {
	for _, ln := range t.byName {
		if ln.holder != nil && ln.holder != to || ln.moving {
			return false
		}
	}
	return true
}

// free takes every link from a life that is over.
func (t *linkTable) free(l *life) {
	for _, ln := range t.byName {
		if ln.holder == l {
			ln.give(nil)
			ln.handOff, ln.moving = nil, false
		}
	}
	t.prune(nil)
}

// heldBy is the names of the links that a life has.
func (t *linkTable) heldBy(l *life) (names []string) {
	for name, ln := range t.byName {
		if ln.holder == l {
			names = append(names, name)
		}
	}
	return names
}

// holds reports whether a life has a link.
func (t *linkTable) holds(l *life, name string) bool {
	ln := t.byName[name]
	return ln != nil && ln.holder == l
}

// knows reports whether a device is in the desired state.
func (t *linkTable) knows(at place) bool {
	ln := t.byName[at.link]
	return ln != nil && (at.device == "" || ln.device(at.device) >= 0)
}

// opensMore reports whether a process is still to open some links; nil: any. Those that it
// opens just now it holds already.
func (t *linkTable) opensMore(l *life, names []string) bool {
	more := func(ln *link) bool {
		return ln != nil && ln.spec != nil && ln.holder == nil && t.target(ln) == l && !l.whole
	}
	if names != nil {
		return slices.ContainsFunc(names, func(name string) bool { return more(t.byName[name]) })
	}
	for _, ln := range t.byName {
		if more(ln) {
			return true
		}
	}
	return false
}

// toOpen counts the links that processes are still to open.
func (t *linkTable) toOpen() map[*life]int {
	n := make(map[*life]int)
	for _, ln := range t.byName {
		if ln.holder == nil && ln.spec != nil {
			n[t.target(ln)]++
		}
	}
	return n
}
