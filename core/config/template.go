package config

import (
	"slices"
	"strings"
)

// templates are the templates of all files, by name.
type templates struct {
	values
	byName     map[string]*node
	order      []field        // as they were found
	circles    map[*node]bool // members of one that is reported
	unreadable bool           // a file could not be read: what is missing may be in it
}

func newTemplates(v values, unreadable bool) *templates {
	return &templates{values: v, byName: map[string]*node{}, circles: map[*node]bool{}, unreadable: unreadable}
}

// collect takes the templates of one file; n may be nil.
func (t *templates) collect(n *node) {
	for _, f := range t.entries(n, "a map of templates by name") {
		if first, twice := t.byName[f.key]; twice {
			t.faultAt(f, "is a second template of this name, after %s:%d: rename one", t.files[first.place.file], first.place.line)
			continue
		}
		t.byName[f.key] = f.value
		t.order = append(t.order, f)
	}
}

// layers returns n over its template, over that one's, the undermost first.
func (t *templates) layers(n *node) []*node {
	var list []*node
	for n != nil && n.kind == kindMap && !slices.Contains(list, n) {
		list = append(list, n)
		n = t.of(n)
	}
	slices.Reverse(list)
	return list
}

// of returns the template that n names, or nil.
func (t *templates) of(n *node) *node {
	ref := n.get("template")
	if ref == nil {
		return nil
	}
	if ref.kind != kindText {
		t.wrongKind(ref, "the name of a template")
		return nil
	}
	found := t.byName[ref.text]
	if found != nil || t.unreadable { // it is likely to be in the file that could not be read, which is reported
		return found
	}
	names := make([]string, 0, len(t.byName))
	for name := range t.byName {
		names = append(names, name)
	}
	hint := use(names)
	if len(names) == 0 {
		hint = "define it below `templates:`"
	}
	t.fault(ref, "there is no template %q%s: %s", shorten(ref.text), suggest(ref.text, names), hint)
	return nil
}

// check reports what is wrong in templates, used or not.
func (t *templates) check() {
	for _, f := range t.order {
		if err := checkName(f.key); err != nil {
			t.faultAt(f, "%s", err)
		}
		if f.value.kind != kindMap {
			t.wrongKind(f.value, "a map of the keys to take over")
			continue
		}
		t.checkCircle(f)
		t.checkPoints(f.value.get("points"))
		for _, d := range f.value.get("devices").mapFields() {
			t.checkPoints(d.value.get("points"))
		}
	}
}

// checkCircle follows the templates of one. A circle is reported once.
func (t *templates) checkCircle(f field) {
	path := []string{f.key}
	seen := map[*node]bool{}
	for n := f.value; n != nil && n.kind == kindMap && !seen[n] && !t.circles[n]; {
		seen[n] = true
		ref := n.get("template")
		if n = t.of(n); n == nil {
			return
		}
		path = append(path, ref.text)
		if n == f.value {
			t.fault(ref, "the templates lead back to themselves, %s: remove one of the references", strings.Join(path, " -> "))
			for member := range seen {
				t.circles[member] = true
			}
		}
	}
}
