package config

import (
	"path/filepath"
	"slices"
)

// parse makes a Config of files.
func parse(dir string, inputs []input, lim limits) (*Config, error) {
	return parseWith(allSections, dir, inputs, lim)
}

// parseWith is parse with a list of sections. What reads the files lives as long as it runs: a
// treeReader turns the text into trees, a sectionReader reads the sections of fieldloom.yaml,
// templates holds those of all files, and a linkBuilder makes links, which asks the templates
// and the pointBuilder and is asked by none. All report into the same faults; there is no
// lock, as one goroutine does it all.
func parseWith(known sections, dir string, inputs []input, lim limits) (*Config, error) {
	found := &faults{}
	v := values{found}
	cfg := &Config{Dir: dir}
	trees := treeReader{faults: found, lim: lim}
	roots := trees.read(dir, inputs)
	t := newTemplates(v, len(found.list) > 0)
	r := sectionReader{values: v, sections: known, cfg: cfg}
	var links []field
	for i, root := range roots {
		switch {
		case root == nil:
			continue
		case inputs[i].name == MainFile:
			r.read(root)
		default:
			r.linkFile(root)
		}
		t.collect(root.get("templates"))
		links = append(links, v.entries(root.get("links"), "a map of links by name")...)
	}
	t.check()
	b := newLinkBuilder(v, t, lim)
	for _, f := range links {
		b.build(f)
	}
	cfg.Links, cfg.secrets = b.links, b.settings.secrets
	r.check()
	cfg.Files, cfg.names = slices.Clone(found.files), found.files
	cfg.wrong = found.seen
	return cfg, found.err()
}

// A budget is how much of the limits is used. Once one is passed, nothing more is built.
type budget struct {
	limits   limits
	devices  int
	points   int
	expanded int // names of points counted out
	written  int // points made
	full     bool
}

// use takes n more, and reports whether the limit allows them.
func (b *budget) use(used *int, n, limit int) bool {
	*used += n
	b.full = b.full || *used > limit
	return *used <= limit
}

// A treeReader turns texts into trees.
type treeReader struct {
	*faults
	lim limits
}

// read turns files into trees, one for each input, and names them all.
func (r *treeReader) read(dir string, inputs []input) []*node {
	roots := make([]*node, len(inputs))
	left := r.lim.total
	for i, in := range inputs {
		name := filepath.Join(dir, filepath.FromSlash(in.name))
		if dir == "" {
			name = in.name
		}
		r.files = append(r.files, name)
		if i == r.lim.files {
			r.add(place{file: uint16(i)}, "", "is one file too many, after %d: put several links in a file", r.lim.files)
			break
		}
		if left -= int64(len(in.data)); left < 0 {
			r.add(place{file: uint16(i)}, "", "makes all files together longer than %d bytes: use templates and ranges", r.lim.total)
			break
		}
		roots[i] = r.readOne(uint16(i), in)
		inputs[i].data = nil
	}
	return roots
}

func (r *treeReader) readOne(file uint16, in input) *node {
	if in.err != nil {
		r.add(place{file: file}, "", "%s", in.err)
		return nil
	}
	text, line, column, err := clean(in.data, r.lim)
	if err != nil {
		r.add(place{line, column, file}, "", "%s", err)
		return nil
	}
	c := converter{file: file, faults: r.faults}
	before := len(r.list)
	root := c.tree(text)
	switch {
	case root == nil && len(r.list) > before:
	case root == nil || root.kind == kindNull:
		r.add(place{1, 1, file}, "", "is empty: %s", whatBelongs(in.name))
	case root.kind != kindMap:
		r.add(root.place, "", "wants a map of keys, but this is %s: %s", root.kind, whatBelongs(in.name))
	default:
		return root
	}
	return nil
}

func whatBelongs(name string) string {
	if name == MainFile {
		return "write at least `gateway: NAME`"
	}
	return "write `links:` and a link, or remove the file"
}
