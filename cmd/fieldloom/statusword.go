package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

type statusWord struct {
	Names []string `arg:"" optional:"" name:"link" help:"LINK or LINK/DEVICE with * ? [a-z] in it. Default: everything."`
	remote
	Watch  bool `short:"w" help:"Show it again every second, until Ctrl-C."`
	Events bool `help:"Show the latest changes of each driver's processes too."`
	JSON   bool `help:"As JSON."`
}

// Help has the examples.
func (*statusWord) Help() string {
	return `Each driver, link and device with its state, how long it is in it, and why. Counters run since the driver's process
started; rates are those since the last call, or since the start where there was none in the last five minutes. On a narrow terminal, causes
stand below their lines, and what matters least is left out.

  fieldloom status --config /etc/fieldloom
  fieldloom status -w 'line1/*' line2
  fieldloom status --json | jq '.links[].devices[] | select(.state != "up")'`
}

// statusEvery is how often a status that is watched is shown.
const statusEvery = time.Second

// Run prints the status.
func (w *statusWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := w.ask(ctx, c)
	if err != nil {
		return err
	}
	if !w.Watch {
		return w.print(s, status)
	}
	canvas := canvas{s: s}
	trouble := ""
	for {
		if s.lively && !w.JSON {
			width, _ := s.size()
			lines := statusLines(s, status, time.Now(), w, width)
			if trouble != "" {
				lines = append([]string{s.paint(red, short(printable(trouble), width))}, lines...)
			}
			canvas.draw(lines, 0)
		} else if trouble == "" {
			if err := w.print(s, status); err != nil {
				return err
			}
		}
		select {
		case <-time.After(statusEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		trouble = ""
		if next, err := w.ask(ctx, c); err == nil {
			status = next
		} else if trouble = err.Error(); !errors.Is(err, client.ErrUnreachable) {
			return err
		}
	}
}

// ask asks for the status of what is named.
func (w *statusWord) ask(ctx context.Context, c *client.Client) (*client.Status, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	return status, narrowStatus(status, w.Names)
}

func (w *statusWord) print(s *screen, st *client.Status) error {
	if w.JSON {
		return printJSON(s.out, st)
	}
	width := 0
	if s.lively {
		width, _ = s.size()
	}
	_, err := fmt.Fprintln(s.out, strings.Join(statusLines(s, st, time.Now(), w, width), "\n"))
	return err
}

// narrowStatus leaves only what names name, and the drivers of that.
func narrowStatus(st *client.Status, names []string) error {
	if len(names) == 0 {
		return nil
	}
	used := make([]bool, len(names))
	drivers := make(map[string]bool)
	var links []client.Link
	for _, l := range st.Links {
		whole := false
		var devices []client.Device
		for i, name := range names {
			link, device, one := strings.Cut(name, "/")
			if !matches(link, l.Name) {
				continue
			}
			whole, used[i] = whole || !one, used[i] || !one
			for _, d := range l.Devices {
				if one && matches(device, d.Name) && !slices.ContainsFunc(devices, func(known client.Device) bool { return known.Name == d.Name }) {
					devices, used[i] = append(devices, d), true
				}
			}
		}
		if !whole && devices == nil {
			continue
		}
		if !whole {
			l.Devices = devices
		}
		links = append(links, l)
		drivers[l.Driver] = true
	}
	if i := slices.Index(used, false); i >= 0 {
		return fmt.Errorf("no link or device matches %s: `fieldloom status` shows all", printable(names[i]))
	}
	st.Links = links
	st.Drivers = slices.DeleteFunc(st.Drivers, func(d client.Driver) bool { return !drivers[d.Name] })
	st.Offline = slices.DeleteFunc(st.Offline, func(r client.LineResult) bool {
		link, _, _ := strings.Cut(r.Name, "/")
		return !slices.ContainsFunc(links, func(l client.Link) bool { return l.Name == link })
	})
	return nil
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
