package config

import (
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Draft is a configuration that is being loaded although some of its link files may be
// wrong. A link file with a fault can be set aside: what it was when the configuration was
// good takes its place, or nothing does. Nothing else can: fieldloom.yaml is about everything,
// and templates are used by other files.
type Draft struct {
	dir    string
	lim    limits
	inputs []input
	kept   func() map[string][]byte // the files of the last good configuration, by their names
	last   map[string][]byte        // what kept answered
	aside  map[string]bool
	faults Errors // of what is set aside
}

// ReadDraft reads the files in dir. kept, which is called once at most, returns the files of
// the last good configuration by their names; nil: there are none.
func ReadDraft(dir string, kept func() map[string][]byte) *Draft {
	lim := defaultLimits()
	return &Draft{dir: dir, lim: lim, inputs: readDir(dir, lim), kept: kept, aside: map[string]bool{}}
}

// Load returns the configuration that the files make, without the faults of those that were
// set aside, now or before. An error is of type Errors: no file of it can be set aside.
func (d *Draft) Load() (*Config, error) {
	for {
		c, err := parse(d.dir, d.effective(), d.lim)
		if err == nil {
			return located(c), nil
		}
		var faults Errors
		if !errors.As(err, &faults) || !d.SetAside(faults) {
			return nil, err
		}
	}
}

// SetAside sets aside the link files that have the faults, and reports whether that is
// possible of all of them.
func (d *Draft) SetAside(faults Errors) bool {
	if d.last == nil && d.kept != nil {
		d.last = d.kept()
	}
	names := map[string]bool{}
	for _, f := range faults {
		name, err := filepath.Rel(d.dir, f.File)
		name = filepath.ToSlash(name)
		if err != nil || !d.mayGo(name) {
			return false
		}
		names[name] = true
	}
	maps.Copy(d.aside, names)
	d.faults = append(d.faults, faults...)
	return len(names) > 0
}

// hasTemplates finds templates also in what is no YAML.
var hasTemplates = regexp.MustCompile(`(?m)(?:^|[{,])\s*["']?templates["']?\s*:`)

// mayGo reports whether a file concerns its own links only.
func (d *Draft) mayGo(name string) bool {
	if !strings.HasPrefix(name, LinksDir+"/") || d.aside[name] || hasTemplates.Match(d.last[name]) {
		return false
	}
	i := slices.IndexFunc(d.inputs, func(in input) bool { return in.name == name })
	return i >= 0 && !hasTemplates.Match(d.inputs[i].data)
}

// effective is the files with what stands for those that are set aside.
func (d *Draft) effective() []input {
	list := make([]input, 0, len(d.inputs))
	for _, in := range d.inputs {
		if d.aside[in.name] {
			data, known := d.last[in.name]
			if !known {
				continue
			}
			in.data, in.err = data, nil
		}
		list = append(list, in)
	}
	return list
}

// Aside returns the names of the files that were set aside, and whether each is in force as it
// was. Those that are not are left out.
func (d *Draft) Aside() map[string]bool {
	names := make(map[string]bool)
	for name := range d.aside {
		_, names[name] = d.last[name]
	}
	return names
}

// Faults are the faults of what was set aside.
func (d *Draft) Faults() Errors { return d.faults }

// Files are the files that the configuration is made of, by their names.
func (d *Draft) Files() map[string][]byte {
	files := make(map[string][]byte)
	for _, in := range d.effective() {
		files[in.name] = in.data
	}
	return files
}

// LoadFiles loads the configuration of the directory dir from files in memory, by their names
// in it. An error is of type Errors.
func LoadFiles(dir string, files map[string][]byte) (*Config, error) {
	c, err := parse(dir, fromMap(files), defaultLimits())
	if err != nil {
		return nil, err
	}
	return located(c), nil
}

// located fills in the places that depend on where the program and the files are.
func located(c *Config) *Config {
	if c.DriversDir == "" {
		c.DriversDir = besideExecutable("drivers")
	}
	if c.TrustFile == "" {
		c.TrustFile = findTrust(c.Dir)
	}
	return c
}
