package commands

import (
	"context"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	maxCandidates = 4096 // of one discovery
	// breath is the least time between two candidates, in which polls and others get the link.
	breath = 5 * time.Millisecond
	// mostBrowsed bounds the addresses of one answer.
	mostBrowsed = 1000
)

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
		return nil, driver.Errorf(driver.CodeOf(err), "browse %s: %w", name, err)
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

// Discover tries the candidates of a link one after the other, and tells of each when it is
// done. It ends when ctx does, after the candidate in hand; polls go on between two of them.
func (s *Service) Discover(ctx context.Context, link string, each func(client.Discovery) error) error {
	l, _ := deviceOf(s.InForce.Get().Config, link, "")
	if l == nil {
		return driver.Errorf(driver.NotFound, "there is no link %s", link)
	}
	for n, total := 0, 1; n < min(total, maxCandidates); n++ {
		control, err := s.ControlOf(l.Driver, link)
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, commandLimit)
		found, of, err := control.Discover(limited, link, n)
		cancel()
		if err != nil {
			return driver.Errorf(driver.CodeOf(err), "discover %s: candidate %d: %w", link, n, err)
		}
		total = of
		d := client.Discovery{Done: n + 1, Of: min(total, maxCandidates)}
		if found != nil {
			e := foundOf(found)
			d.Found = &e
		}
		if err := each(d); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(breath):
		}
	}
	return nil
}
