package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Errors is all that is wrong, in the order of files and lines.
type Errors []*driver.ConfigError

// Error formats one error a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one, for errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// maxErrors bounds what a thoroughly wrong configuration reports. Whoever has
// mended so many runs the check again.
const maxErrors = 500

// faults gathers errors. Its zero value is ready.
type faults struct {
	files []string // by place.file
	list  Errors
	seen  map[spot]bool
	left  int // not kept because of maxErrors
}

// A spot has one error at most: of the many that a line with a range may give,
// the first tells what is wrong with all.
type spot struct {
	place place
	path  string
}

func (f *faults) add(at place, path, format string, args ...any) {
	if f.seen == nil {
		f.seen = map[spot]bool{}
	}
	switch here := (spot{at, path}); {
	case f.seen[here]:
	case len(f.list) >= maxErrors:
		f.left++
	default:
		f.seen[here] = true
		f.list = append(f.list, &driver.ConfigError{Text: fmt.Sprintf(format, args...), Place: at.named(f.files, path)})
	}
}

// err returns everything as Errors, or nil.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b *driver.ConfigError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if f.left > 0 {
		f.list = append(f.list, &driver.ConfigError{Text: fmt.Sprintf("and %d more: mend these first", f.left)})
		f.left = 0
	}
	return f.list
}

// Locate returns a fault that a driver found, with the place where it lies. A fault of
// something that is not in the configuration has none, and names nothing.
func (c *Config) Locate(kind string, f *driver.ConfigError) *driver.ConfigError {
	for _, l := range c.Links {
		if l.Name == f.Link && f.Link != "" {
			return c.locateInLink(l, *f)
		}
	}
	return &driver.ConfigError{Text: "driver " + kind + ": " + f.Text}
}

// LinkFault returns an error of a link as a whole, at its place.
func (c *Config) LinkFault(l *Link, text string) *driver.ConfigError {
	return c.locateInLink(l, driver.ConfigError{Link: l.Name, Text: text})
}

// SecretFault returns an error at the place where s is named.
func (c *Config) SecretFault(s Secret, text string) *driver.ConfigError {
	return &driver.ConfigError{Text: text, Place: s.place.named(c.names, s.trail.String())}
}

func (c *Config) locateInLink(l *Link, f driver.ConfigError) *driver.ConfigError {
	name := l.Name
	if f.Device == "" {
		return c.locateInSource(l.source, name, f)
	}
	for _, d := range l.Devices {
		if d.Name != f.Device {
			continue
		}
		name += "/" + d.Name
		for i := range d.Table.Points {
			if d.Table.Points[i].Name == f.Point {
				return c.locatePoint(d.source.points[i], name+"/"+f.Point, f)
			}
		}
		return c.locateInSource(d.source, name, f)
	}
	return c.locateInSource(l.source, name+"/"+f.Device, f)
}

func (c *Config) locatePoint(p pointSource, name string, f driver.ConfigError) *driver.ConfigError {
	switch f.Key {
	case "":
		return c.locateAt(p.place, p.trail, name, f)
	case "address":
		return c.locateAt(p.address, p.trail.at(f.Key), name, f)
	}
	return c.locateAt(p.place, p.trail.at(f.Key), name, f)
}

func (c *Config) locateInSource(s *source, name string, f driver.ConfigError) *driver.ConfigError {
	if f.Key == "" {
		return c.locateAt(s.place, s.trail, name, f)
	}
	for _, one := range s.settings {
		if one.key == f.Key {
			return c.locateAt(one.value.place, one.value.trail, name, f)
		}
	}
	return c.locateAt(s.place, s.trail.at(f.Key), name, f)
}

// locateAt gives f its place. Of a template or a range the place alone does not tell which
// link, device or point is meant, so the text names it.
func (c *Config) locateAt(at place, t *trail, name string, f driver.ConfigError) *driver.ConfigError {
	f.Place = at.named(c.names, t.String())
	literal := "links." + f.Link
	if f.Device != "" {
		literal += ".devices." + f.Device
	}
	if f.Point != "" {
		literal += ".points." + f.Point
	}
	if f.Path != literal && f.Path != literal+"."+f.Key {
		f.Text += " (" + name + ")"
	}
	return &f
}
