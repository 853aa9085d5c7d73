package commands

import (
	"context"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

// mostBrowsed bounds the addresses of one answer.
const mostBrowsed = 1000

// Browse lists what lies below an address of a device, which is named LINK/DEVICE, or
// LINK/DEVICE/POINT for the address of one of its points.
func (s *Service) Browse(ctx context.Context, name, prefix string) ([]client.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	a := s.InForce.Get()
	link, rest, _ := strings.Cut(name, "/")
	device, point, named := strings.Cut(rest, "/")
	l, d := deviceOf(a.Config, link, device)
	switch {
	case l == nil:
		return nil, driver.Errorf(driver.NotFound, "%s: there is no link %s", name, link)
	case d == nil:
		return nil, driver.Errorf(driver.NotFound, "%s: link %s has no device %s: name it as LINK/DEVICE", name, link, device)
	case named:
		if prefix = point; d.Table != nil {
			for i := range d.Table.Points {
				if p := &d.Table.Points[i]; p.Name == point {
					prefix = p.Address
				}
			}
		}
	}
	control, err := s.ControlOf(l.Driver, link)
	if err != nil {
		return nil, err
	}
	entries, err := control.Browse(ctx, link, device, prefix, mostBrowsed)
	if err != nil {
		word := "browse"
		if named {
			word = "explain"
		}
		return nil, driver.Errorf(driver.CodeOf(err), "%s %s: %w", word, name, err)
	}
	found := make([]client.Found, len(entries))
	for i := range entries {
		found[i] = foundOf(&entries[i])
	}
	return found, nil
}

func deviceOf(c *config.Config, link, device string) (*config.Link, *config.Device) {
	for _, l := range c.Links {
		if l.Name != link {
			continue
		}
		for _, d := range l.Devices {
			if d.Name == device {
				return l, d
			}
		}
		return l, nil
	}
	return nil, nil
}

func foundOf(e *driver.Entry) client.Found {
	f := client.Found{Address: e.Address, Name: e.Name, Writable: e.Writable, Value: e.Value, Likely: e.Likely}
	if e.Kind != driver.KindNull {
		f.Kind = e.Kind.String()
	}
	return f
}
