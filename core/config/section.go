package config

import (
	"path/filepath"
)

// A section is one top-level key of fieldloom.yaml, and says all that this package has to know
// of it. A new one is such a value, a line in allSections, a field of Config for what it says,
// and a description in docs/config.md, which a test asks for: reading, unknown keys, near
// names, the keys that belong elsewhere and what needs a restart follow from the list.
type section struct {
	key string
	// anywhere: it may stand in links/*.yaml too. It is read of all files together, by parse.
	anywhere bool
	// defaults fills in what holds where nothing is written; nil: the zero values hold. The
	// sections before this one in the list have been read.
	defaults func(c *Config)
	// keys are those of a section that is a map with fixed keys: what is no such map and what
	// is no such key is an error.
	keys []key[*Config]
	// read reads any other section, where it is written.
	read func(r *sectionReader, n *node)
	// check, unless it is nil, looks at what all files say together, links included. n is nil
	// where the section is not written.
	check func(r *sectionReader, n *node)
	// fixed names what of the section differs between two configurations and cannot change
	// while the gateway runs; empty: nothing. nil: all of it may change at a reload.
	fixed func(old, next *Config) string
}

// A key is one key of a map, which is read into a T.
type key[T any] struct {
	name string
	read func(r *sectionReader, n *node, into T)
}

type sections []*section

// allSections are the sections, in the order in which they are read.
var allSections = sections{
	gatewaySection, dataSection, driversSection, trustSection, unsignedSection, confineSection, detachSection, orphanSection,
	secretsSection, socketSection, spoolSection, logSection, processesSection, templatesSection, linksSection,
}

// Templates and links are read of all files, by parse.
var (
	templatesSection = &section{key: "templates", anywhere: true}
	linksSection     = &section{key: "links", anywhere: true}
)

// names returns the keys of all sections.
func (list sections) names() (names []string) {
	for _, s := range list {
		names = append(names, s.key)
	}
	return names
}

// Fixed names, as keys of fieldloom.yaml, what of next cannot be put in force while a gateway
// runs with c.
func (c *Config) Fixed(next *Config) []string { return allSections.fixed(c, next) }

func (list sections) fixed(old, next *Config) (names []string) {
	for _, s := range list {
		if s.fixed == nil {
			continue
		}
		if name := s.fixed(old, next); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// differs is name where it differs, for section.fixed.
func differs(name string, different bool) string {
	if different {
		return name
	}
	return ""
}

// A sectionReader reads sections into a Config.
type sectionReader struct {
	values
	sections sections
	cfg      *Config
	root     *node // of fieldloom.yaml, once it is read
}

// read reads fieldloom.yaml.
func (r *sectionReader) read(root *node) {
	r.root = root
	r.unknownKeys(root, r.sections.names(), []string{"devices", "points", "driver", "scan"},
		"belongs to a link: move it below `links:` and the link's name")
	for _, s := range r.sections {
		if s.defaults != nil {
			s.defaults(r.cfg)
		}
		switch n := root.get(s.key); {
		case n == nil:
		case s.keys != nil:
			readMap(r, n, s.keys, r.cfg)
		case s.read != nil:
			s.read(r, n)
		}
	}
}

// linkFile checks the keys of a file in links/.
func (r *sectionReader) linkFile(root *node) {
	var here []string
	for _, s := range r.sections {
		if s.anywhere {
			here = append(here, s.key)
		}
	}
	for _, f := range root.fields {
		if f.value.get("driver") != nil {
			r.faultAt(f, "seems to be a link: move it below `links:`, indented")
		}
	}
	r.unknownKeys(root, here, r.sections.names(), "belongs in "+MainFile+": move it there")
}

// check lets the sections look at the whole.
func (r *sectionReader) check() {
	if r.root == nil { // fieldloom.yaml could not be read
		return
	}
	for _, s := range r.sections {
		if s.check != nil {
			s.check(r, r.root.get(s.key))
		}
	}
}

// path evaluates a path, which is relative to the directory of the configuration.
func (r *sectionReader) path(n *node) string {
	p := r.text(n, scope{})
	switch {
	case p == "" && n.kind == kindText:
		r.fault(n, "is empty: write a path, or remove the key")
	case !filepath.IsAbs(p):
		return filepath.Join(r.cfg.Dir, p)
	}
	return p
}

// readMap reads a map with fixed keys.
func readMap[T any](r *sectionReader, n *node, keys []key[T], into T) {
	if n.kind != kindMap {
		r.wrongKind(n, "a map with "+join(keyNames(keys)))
		return
	}
	r.unknownKeys(n, keyNames(keys), nil, "")
	readKeys(r, n, keys, into)
}

// readKeys reads those of the keys that are written.
func readKeys[T any](r *sectionReader, n *node, keys []key[T], into T) {
	for _, k := range keys {
		if v := n.get(k.name); v != nil {
			k.read(r, v, into)
		}
	}
}

func keyNames[T any](keys []key[T]) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}
