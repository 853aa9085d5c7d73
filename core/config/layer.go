package config

import "slices"

// A chain is the definitions of one name, one over the other: those of its
// templates first. Equal chains are the same pointer.
type chain struct {
	chainLink
	place place // of the last one's name
}

type chainLink struct {
	under *chain
	value *node
}

// chains are all chains, so that equal ones are the same.
type chains map[chainLink]*chain

// over returns the chain of value over under.
func (cs chains) over(under *chain, value *node, at place) *chain {
	key := chainLink{under, value}
	c := cs[key]
	if c == nil {
		c = &chain{key, at}
		cs[key] = c
	}
	return c
}

// values returns the definitions, the undermost first.
func (c *chain) values() []*node {
	var list []*node
	for ; c != nil; c = c.under {
		list = append(list, c.value)
	}
	slices.Reverse(list)
	return list
}

// last returns a key's value in the uppermost layer that has it, or nil.
func last(layers []*node, key string) *node {
	for _, n := range slices.Backward(layers) {
		if v := n.get(key); v != nil {
			return v
		}
	}
	return nil
}

// settings returns the fields that are not the gateway's own keys: those of
// upper layers in the place of those under them.
func settings(layers []*node, own []string) []field {
	var merged []field
	for _, n := range layers {
		for _, f := range n.fields {
			if slices.Contains(own, f.key) {
				continue
			}
			i := slices.IndexFunc(merged, func(m field) bool { return m.key == f.key })
			if i < 0 {
				merged = append(merged, f)
			} else {
				merged[i] = f
			}
		}
	}
	return merged
}

// A named is one name that entries of maps stand for, ranges counted out.
type named struct {
	name  string
	count count
	chain *chain
}

// An expander counts out ranges.
type expander struct {
	values
	chains chains
	budget *budget
}

// expand counts out the names in maps of definitions, the undermost map first:
// a name that several maps have is defined by all of them. It takes at most room
// names.
func (e *expander) expand(maps []*node, what string, room int) []named {
	var all []named
	index := map[string]int{}
	for _, m := range maps {
		start := make(map[string]place, len(m.fields)) // names of this map
		for _, f := range m.fields {
			s, err := parseSpan(f.key)
			if err != nil {
				e.faultAt(f, "%s", err)
				continue
			}
			if s.size() > int64(room-len(all)) {
				e.faultAt(f, "makes more than the %d %s that there is room for: make the range smaller", room, what)
				e.budget.full = true
				return all
			}
			all = e.expandOne(all, index, start, f, s)
		}
	}
	return all
}

func (e *expander) expandOne(all []named, index map[string]int, here map[string]place, f field, s span) []named {
	for name, c := range s.names() {
		if first, twice := here[name]; twice {
			e.faultAt(f, "%s is already on line %d: rename or remove one", name, first.line)
			continue
		}
		here[name] = f.place
		i, known := index[name]
		if !known {
			i = len(all)
			index[name] = i
			all = append(all, named{name: name})
		}
		if c.ok {
			all[i].count = c
		}
		all[i].chain = e.chains.over(all[i].chain, f.value, f.place)
	}
	return all
}
