package config

import (
	"path/filepath"
	"slices"
)

// A builder makes a Config of trees. What it holds lives as long as parse runs.
type builder struct {
	*faults
	lim       limits
	cfg       *Config
	templates map[string]*node
	order     []field // the templates as they were found
	circles   map[*node]bool
	linkNames map[string]place
	secrets   map[string]bool // names that were seen
	chains    map[chainLink]*chain
	sets      map[*chain]*pointSet

	processNames []field
	tables       tables
	devices      int
	points       int
	expanded     int  // names of points counted out
	written      int  // points made
	full         bool // a limit was passed: build no more
	unreadable   bool // a file could not be read: what is missing may be in it
}

func parse(dir string, inputs []input, lim limits) (*Config, error) {
	b := &builder{
		faults: &faults{}, lim: lim, cfg: &Config{Dir: dir},
		templates: map[string]*node{}, circles: map[*node]bool{}, linkNames: map[string]place{}, secrets: map[string]bool{},
		chains: map[chainLink]*chain{}, sets: map[*chain]*pointSet{},
	}
	roots := b.read(dir, inputs)
	b.unreadable = b.added > 0
	var links []field
	for i, root := range roots {
		links = append(links, b.top(root, inputs[i].name == mainFile)...)
	}
	b.checkTemplates()
	for _, f := range links {
		b.checkable(f)
	}
	b.checkProcesses()
	b.cfg.names = b.files
	b.cfg.wrong = b.seen
	return b.cfg, b.err()
}

// checkable builds the links of one entry, and leaves out those of which too little is
// right to check the rest.
func (b *builder) checkable(f field) {
	before := len(b.cfg.Links)
	b.link(f)
	made := slices.DeleteFunc(b.cfg.Links[before:], func(l *Link) bool {
		return l.Driver == "" || slices.ContainsFunc(l.Devices, func(d *Device) bool { return d.Table == nil })
	})
	b.cfg.Links = b.cfg.Links[:before+len(made)]
}

// read turns files into trees, one for each input, and names them all.
func (b *builder) read(dir string, inputs []input) []*node {
	roots := make([]*node, len(inputs))
	left := b.lim.total
	for i, in := range inputs {
		name := filepath.Join(dir, filepath.FromSlash(in.name))
		if dir == "" {
			name = in.name
		}
		b.files = append(b.files, name)
		b.cfg.Files = append(b.cfg.Files, name)
		if i == b.lim.files {
			b.add(place{file: uint16(i)}, "", "is one file too many, after %d: put several links in a file", b.lim.files)
			break
		}
		if left -= int64(len(in.data)); left < 0 {
			b.add(place{file: uint16(i)}, "", "makes all files together longer than %d bytes: use templates and ranges", b.lim.total)
			break
		}
		roots[i] = b.readOne(uint16(i), in)
		inputs[i].data = nil
	}
	return roots
}

func (b *builder) readOne(file uint16, in input) *node {
	if in.err != nil {
		b.add(place{file: file}, "", "%s", in.err)
		return nil
	}
	text, line, column, err := clean(in.data, b.lim)
	if err != nil {
		b.add(place{line, column, file}, "", "%s", err)
		return nil
	}
	c := converter{file: file, faults: b.faults}
	before := len(b.list)
	root := c.tree(text)
	switch {
	case root == nil && len(b.list) > before:
	case root == nil || root.kind == kindNull:
		b.add(place{1, 1, file}, "", "is empty: %s", whatBelongs(in.name))
	case root.kind != kindMap:
		b.add(root.place, "", "wants a map of keys, but this is %s: %s", root.kind, whatBelongs(in.name))
	default:
		return root
	}
	return nil
}

func whatBelongs(name string) string {
	if name == mainFile {
		return "write at least `gateway: NAME`"
	}
	return "write `links:` and a link, or remove the file"
}

// fault reports something wrong with a value.
func (b *builder) fault(n *node, format string, args ...any) {
	b.add(n.place, n.trail.String(), format, args...)
}

// top reads one file's root. It collects templates, and returns the links.
func (b *builder) top(root *node, main bool) []field {
	if root == nil {
		return nil
	}
	if main {
		b.gateway(root)
	} else {
		b.linkFile(root)
	}
	for _, f := range b.entries(root.get("templates"), "a map of templates by name") {
		if first, twice := b.templates[f.key]; twice {
			b.add(f.place, f.value.trail.String(), "is a second template of this name, after %s:%d: rename one",
				b.files[first.place.file], first.place.line)
			continue
		}
		b.templates[f.key] = f.value
		b.order = append(b.order, f)
	}
	return b.entries(root.get("links"), "a map of links by name")
}

// linkFile checks the keys of a file in links/.
func (b *builder) linkFile(root *node) {
	for _, f := range root.fields {
		if f.value.get("driver") != nil {
			b.add(f.place, f.value.trail.String(), "seems to be a link: move it below `links:`, indented")
		}
	}
	b.unknownKeys(root, []string{"links", "templates"}, gatewayKeys, "belongs in "+mainFile+": move it there")
}

// entries returns the fields of a map that may be missing.
func (b *builder) entries(n *node, want string) []field {
	if n != nil && n.kind != kindMap {
		b.wrongKind(n, want)
		return nil
	}
	if n == nil {
		return nil
	}
	return n.fields
}

// unknownKeys reports keys that are not known. elsewhere are keys that belong
// to another place, for which the hint is meant; it may be nil.
func (b *builder) unknownKeys(n *node, known, elsewhere []string, hint string) {
	for _, f := range n.fields {
		switch {
		case contains(known, f.key):
		case contains(elsewhere, f.key):
			b.add(f.place, f.value.trail.String(), "%s", hint)
		default:
			b.add(f.place, f.value.trail.String(), "unknown key%s: %s", suggest(f.key, known), use(known))
		}
	}
}
