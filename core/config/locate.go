package config

import (
	"github.com/fieldloom/fieldloom/core/control"
)

// Locate returns where a fault that a driver found lies. A fault of something
// that is not in the configuration has no file.
func (c *Config) Locate(driver string, f control.ConfigFault) *Error {
	for _, l := range c.Links {
		if l.Name == f.Link && f.Link != "" {
			return c.locateInLink(l, f)
		}
	}
	return &Error{Text: "driver " + driver + ": " + f.Text}
}

// LinkFault returns an error of a link as a whole, at its place.
func (c *Config) LinkFault(l *Link, text string) *Error {
	return c.locateInLink(l, control.ConfigFault{Link: l.Name, Text: text})
}

func (c *Config) locateInLink(l *Link, f control.ConfigFault) *Error {
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

func (c *Config) locatePoint(p pointSource, name string, f control.ConfigFault) *Error {
	switch f.Key {
	case "":
		return c.errorAt(p.place, p.trail, name, f)
	case "address":
		return c.errorAt(p.address, p.trail.at(f.Key), name, f)
	}
	return c.errorAt(p.place, p.trail.at(f.Key), name, f)
}

func (c *Config) locateInSource(s *source, name string, f control.ConfigFault) *Error {
	if f.Key == "" {
		return c.errorAt(s.place, s.trail, name, f)
	}
	for _, one := range s.settings {
		if one.key == f.Key {
			return c.errorAt(one.value.place, one.value.trail, name, f)
		}
	}
	return c.errorAt(s.place, s.trail.at(f.Key), name, f)
}

// errorAt makes the error. Of a template or a range the place alone does not
// tell which link, device or point is meant, so the text names it.
func (c *Config) errorAt(at place, t *trail, name string, f control.ConfigFault) *Error {
	e := &Error{File: c.names[at.file], Line: int(at.line), Column: int(at.column), Path: t.String(), Text: f.Text}
	literal := "links." + f.Link
	if f.Device != "" {
		literal += ".devices." + f.Device
	}
	if f.Point != "" {
		literal += ".points." + f.Point
	}
	if e.Path != literal && e.Path != literal+"."+f.Key {
		e.Text += " (" + name + ")"
	}
	return e
}
