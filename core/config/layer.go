package config

import (
	"slices"
	"strings"
)

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

// link returns the chain of value over under.
func (b *builder) over(under *chain, value *node, at place) *chain {
	key := chainLink{under, value}
	c := b.chains[key]
	if c == nil {
		c = &chain{key, at}
		b.chains[key] = c
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

// layers returns n over its template, over that one's, the undermost first.
func (b *builder) layers(n *node) []*node {
	var list []*node
	for n != nil && n.kind == kindMap && !slices.Contains(list, n) {
		list = append(list, n)
		n = b.template(n)
	}
	slices.Reverse(list)
	return list
}

// template returns the template that n names, or nil.
func (b *builder) template(n *node) *node {
	ref := n.get("template")
	if ref == nil {
		return nil
	}
	if ref.kind != kindText {
		b.wrongKind(ref, "the name of a template")
		return nil
	}
	t := b.templates[ref.text]
	if t != nil {
		return t
	}
	if b.unreadable {
		b.added++ // it is likely to be in the file that could not be read, which is reported
		return nil
	}
	names := make([]string, 0, len(b.templates))
	for name := range b.templates {
		names = append(names, name)
	}
	hint := use(names)
	if len(names) == 0 {
		hint = "define it below `templates:`"
	}
	b.fault(ref, "there is no template %q%s: %s", shorten(ref.text), suggest(ref.text, names), hint)
	return nil
}

// checkTemplates reports what is wrong in templates, used or not.
func (b *builder) checkTemplates() {
	for _, f := range b.order {
		if err := checkName(f.key); err != nil {
			b.add(f.place, f.value.trail.String(), "%s", err)
		}
		if f.value.kind != kindMap {
			b.wrongKind(f.value, "a map of the keys to take over")
			continue
		}
		b.checkCircle(f)
		b.checkPoints(f.value.get("points"))
		for _, d := range f.value.get("devices").mapFields() {
			b.checkPoints(d.value.get("points"))
		}
	}
}

// checkCircle follows the templates of one. A circle is reported once.
func (b *builder) checkCircle(f field) {
	path := []string{f.key}
	seen := map[*node]bool{}
	for n := f.value; n != nil && n.kind == kindMap && !seen[n] && !b.circles[n]; {
		seen[n] = true
		ref := n.get("template")
		if n = b.template(n); n == nil {
			return
		}
		path = append(path, ref.text)
		if n == f.value {
			b.fault(ref, "the templates lead back to themselves, %s: remove one of the references", strings.Join(path, " -> "))
			for member := range seen {
				b.circles[member] = true
			}
		}
	}
}

// mapFields returns the fields of a map, none of anything else.
func (n *node) mapFields() []field {
	if n == nil {
		return nil
	}
	return n.fields
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

// expand counts out the names in maps of definitions, the undermost map first:
// a name that several maps have is defined by all of them. It takes at most room
// names.
func (b *builder) expand(maps []*node, what string, room int) []named {
	var all []named
	index := map[string]int{}
	for _, m := range maps {
		start := make(map[string]place, len(m.fields)) // names of this map
		for _, f := range m.fields {
			s, err := parseSpan(f.key)
			if err != nil {
				b.add(f.place, f.value.trail.String(), "%s", err)
				continue
			}
			if s.size() > int64(room-len(all)) {
				b.add(f.place, f.value.trail.String(), "makes more than the %d %s that there is room for: make the range smaller", room, what)
				b.full = true
				return all
			}
			all = b.expandOne(all, index, start, f, s)
		}
	}
	return all
}

func (b *builder) expandOne(all []named, index map[string]int, here map[string]place, f field, s span) []named {
	for name, c := range s.names() {
		if first, twice := here[name]; twice {
			b.add(f.place, f.value.trail.String(), "%s is already on line %d: rename or remove one", name, first.line)
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
		all[i].chain = b.over(all[i].chain, f.value, f.place)
	}
	return all
}
