package inforce

import (
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A Point is one configured point, and where it is.
type Point struct {
	Link   *config.Link
	Device *config.Device
	Point  *control.Point
}

// pattern is LINK/DEVICE/POINT as globs. Segments left out match all.
type pattern [3]string

func parsePattern(s string) pattern {
	p := pattern{"*", "*", "*"}
	copy(p[:], strings.SplitN(s, "/", 3))
	return p
}

// IsLiteral reports whether a name is no pattern.
func IsLiteral(name string) bool { return !strings.ContainsAny(name, `*?[\`) }

func glob(pattern, name string) bool {
	if pattern == "*" || pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// Selected yields the points that match one of the patterns, in the order of the
// configuration, each once; all without a pattern.
func (c *Config) Selected(patterns []string) iter.Seq[*Point] {
	parsed := []pattern{parsePattern("*")}
	if len(patterns) > 0 {
		parsed = parsed[:0]
		for _, p := range patterns {
			parsed = append(parsed, parsePattern(p))
		}
	}
	return func(yield func(*Point) bool) {
		for _, l := range c.Links {
			inLink := narrow(parsed, 0, l.Name)
			if len(inLink) == 0 {
				continue
			}
			for _, d := range l.Devices {
				if !selectedOf(&Point{Link: l, Device: d}, narrow(inLink, 1, d.Name), yield) {
					return
				}
			}
		}
	}
}

// selectedOf yields a device's points.
func selectedOf(at *Point, patterns []pattern, yield func(*Point) bool) bool {
	if len(patterns) == 0 {
		return true
	}
	points := at.Device.Table.Points
	for i := range points {
		if len(narrow(patterns, 2, points[i].Name)) == 0 {
			continue
		}
		if !yield(&Point{at.Link, at.Device, &points[i]}) {
			return false
		}
	}
	return true
}

// narrow keeps the patterns whose segment matches name.
func narrow(patterns []pattern, segment int, name string) []pattern {
	for i, p := range patterns {
		if glob(p[segment], name) {
			continue
		}
		kept := append([]pattern(nil), patterns[:i]...)
		for _, p := range patterns[i+1:] {
			if glob(p[segment], name) {
				kept = append(kept, p)
			}
		}
		return kept
	}
	return patterns
}

// Find looks up one point by its full name.
func (c *Config) Find(name string) (*Point, bool) {
	if strings.Count(name, "/") != 2 || !IsLiteral(name) {
		return nil, false
	}
	for at := range c.Selected([]string{name}) {
		return at, true
	}
	return nil, false
}

// Missing says what of a name is not there.
func (c *Config) Missing(name string) *driver.Error {
	p := strings.SplitN(name, "/", 3)
	if !IsLiteral(name) {
		return driver.Errorf(driver.NotFound, "%s: no point matches that can be read", name)
	}
	if len(p) != 3 {
		return driver.Errorf(driver.NotFound, "%s: name a point as LINK/DEVICE/POINT", name)
	}
	for _, l := range c.Links {
		if l.Name != p[0] {
			continue
		}
		for _, d := range l.Devices {
			if d.Name == p[1] {
				return driver.Errorf(driver.NotFound, "%s: device %s has no point %s", name, p[1], p[2])
			}
		}
		return driver.Errorf(driver.NotFound, "%s: link %s has no device %s", name, p[0], p[1])
	}
	return driver.Errorf(driver.NotFound, "%s: there is no link %s", name, p[0])
}

// A Target is a link, or one device of it.
type Target struct{ Link, Device string }

// ParseTarget reads LINK or LINK/DEVICE.
func ParseTarget(name string) Target {
	link, device, _ := strings.Cut(name, "/")
	return Target{link, device}
}

// String is the name that ParseTarget reads.
func (l Target) String() string {
	if l.Device == "" {
		return l.Link
	}
	return l.Link + "/" + l.Device
}

// FindTarget looks up the link of a target, and its device.
func (c *Config) FindTarget(l Target) (*config.Link, error) {
	for _, link := range c.Links {
		if link.Name != l.Link {
			continue
		}
		if l.Device == "" || slices.ContainsFunc(link.Devices, func(d *config.Device) bool { return d.Name == l.Device }) {
			return link, nil
		}
		return nil, driver.Errorf(driver.NotFound, "%s: link %s has no device %s", l, l.Link, l.Device)
	}
	return nil, driver.Errorf(driver.NotFound, "%s: there is no link %s", l, l.Link)
}

// TargetsOf returns the links of a driver.
func (c *Config) TargetsOf(driverName string) []Target {
	var list []Target
	for _, l := range c.Links {
		if l.Driver == driverName {
			list = append(list, Target{Link: l.Name})
		}
	}
	return list
}

// TargetsFor resolves a request wholly, or not at all.
func (c *Config) TargetsFor(r client.LineRequest) ([]Target, error) {
	if r.Driver != "" {
		targets := c.TargetsOf(r.Driver)
		if len(targets) == 0 {
			return nil, driver.Errorf(driver.NotFound, "no link uses a driver %s", r.Driver)
		}
		return targets, nil
	}
	var targets []Target
	for _, name := range r.Names {
		l := ParseTarget(name)
		if _, err := c.FindTarget(l); err != nil {
			return nil, err
		}
		if !slices.Contains(targets, l) {
			targets = append(targets, l)
		}
	}
	return targets, nil
}
