package gateway

import (
	"iter"
	"path"
	"strings"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// spot is one configured point.
type spot struct {
	link   *config.Link
	device *config.Device
	point  *control.Point
}

// pattern is LINK/DEVICE/POINT as globs. Segments left out match all.
type pattern [3]string

func parsePattern(s string) pattern {
	p := pattern{"*", "*", "*"}
	copy(p[:], strings.SplitN(s, "/", 3))
	return p
}

func isLiteral(name string) bool { return !strings.ContainsAny(name, `*?[\`) }

func glob(pattern, name string) bool {
	if pattern == "*" || pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// selected yields the points that match one of the patterns, in the order of the
// configuration, each once; all without a pattern.
func (a *adopted) selected(patterns []string) iter.Seq[*spot] {
	parsed := []pattern{parsePattern("*")}
	if len(patterns) > 0 {
		parsed = parsed[:0]
		for _, p := range patterns {
			parsed = append(parsed, parsePattern(p))
		}
	}
	return func(yield func(*spot) bool) {
		for _, l := range a.Links {
			inLink := narrow(parsed, 0, l.Name)
			if len(inLink) == 0 {
				continue
			}
			for _, d := range l.Devices {
				if !selectedOf(&spot{link: l, device: d}, narrow(inLink, 1, d.Name), yield) {
					return
				}
			}
		}
	}
}

// selectedOf yields a device's points.
func selectedOf(at *spot, patterns []pattern, yield func(*spot) bool) bool {
	if len(patterns) == 0 {
		return true
	}
	points := at.device.Table.Points
	for i := range points {
		if len(narrow(patterns, 2, points[i].Name)) == 0 {
			continue
		}
		if !yield(&spot{at.link, at.device, &points[i]}) {
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

// find looks up one point by its full name.
func (a *adopted) find(name string) (*spot, bool) {
	if strings.Count(name, "/") != 2 || !isLiteral(name) {
		return nil, false
	}
	for at := range a.selected([]string{name}) {
		return at, true
	}
	return nil, false
}

// missing says what of a name is not there.
func (a *adopted) missing(name string) *driver.Error {
	p := strings.SplitN(name, "/", 3)
	if !isLiteral(name) {
		return driver.Errorf(driver.NotFound, "%s: no point matches that can be read", name)
	}
	if len(p) != 3 {
		return driver.Errorf(driver.NotFound, "%s: name a point as LINK/DEVICE/POINT", name)
	}
	for _, l := range a.Links {
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
