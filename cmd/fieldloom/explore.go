package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

type browseWord struct {
	Device string `arg:"" help:"LINK/DEVICE."`
	Prefix string `arg:"" optional:"" help:"An address below which is listed. Default: all."`
	remote
	JSON bool `help:"One line of JSON an entry."`
}

// Help has the examples.
func (*browseWord) Help() string {
	return `Asks a device what it is and what it has, as far as its protocol lets it say that.

  fieldloom browse line1/meter
  fieldloom browse line1/meter --json`
}

// Run browses.
func (w *browseWord) Run(ctx context.Context, s *screen) error {
	return browse(ctx, s, &w.remote, w.Device, w.Prefix, w.JSON, false)
}

type explainWord struct {
	Address string `arg:"" help:"LINK/DEVICE/ADDRESS, or LINK/DEVICE/POINT for the address of a point."`
	remote
	JSON bool `help:"One line of JSON a reading."`
}

// Help has the examples.
func (*explainWord) Help() string {
	return `Reads an address once, and shows the raw value and every reading of it: the types, and the orders of their bytes. Those marked with a
star may well be what is meant. An address is written as in a point's settings, in quotes where the shell minds it.

  fieldloom explain line1/meter/holding:100
  fieldloom explain line1/meter/voltage`
}

// Run explains.
func (w *explainWord) Run(ctx context.Context, s *screen) error {
	if strings.Count(w.Address, "/") < 2 {
		return &usageError{fmt.Sprintf("%s: name it as LINK/DEVICE/ADDRESS, for example line1/meter/holding:100", w.Address)}
	}
	return browse(ctx, s, &w.remote, w.Address, "", w.JSON, true)
}

// browse prints what the gateway lists.
func browse(ctx context.Context, s *screen, to *remote, name, prefix string, asJSON, readings bool) error {
	c, err := to.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	found, err := c.Browse(ctx, name, prefix)
	if err != nil {
		return err
	}
	if asJSON {
		for i := range found {
			if err := printJSON(s.out, &found[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(s.out, "%s: there is nothing that it can list\n", name)
		return err
	}
	g := new(grid)
	g.add(bold, "", "ADDRESS", "NAME", "VALUE", "ACCESS")
	for i := range found {
		f := &found[i]
		mark, colour := "", ""
		if f.Likely && readings {
			mark, colour = "*", green
		}
		access := "r"
		if f.Writable {
			access = "rw"
		}
		g.add(colour, mark, f.Address, f.Name, f.Value, access)
	}
	return g.print(s)
}

type discoverWord struct {
	Link string `arg:"" help:"The link to look on."`
	remote
	JSON bool `help:"One line of JSON a candidate."`
}

// Help has the examples.
func (*discoverWord) Help() string {
	return `Asks every candidate of a line (of a Modbus line, the units 1 to 247) whether it is there, one after the other. Polls of the link go on
between two of them; a candidate that keeps silent takes the link's timeout. Ctrl-C ends it, also at the gateway. Nothing is written.

  fieldloom discover line1
  fieldloom discover line1 --json | jq -c 'select(.found)'`
}

// Run discovers.
func (w *discoverWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	var found []client.Found
	began := time.Now()
	err = c.Discover(ctx, w.Link, func(d client.Discovery) error {
		if d.Found != nil {
			found = append(found, *d.Found)
		}
		if w.JSON {
			return printJSON(s.out, &d)
		}
		return w.progress(s, &d, began)
	})
	if w.JSON {
		return err
	}
	if s.lively {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	if printErr := w.print(s, found); err == nil {
		err = printErr
	}
	return err
}

// progress draws how far it has come over itself, or tells of what was found.
func (w *discoverWord) progress(s *screen, d *client.Discovery, began time.Time) error {
	if !s.lively {
		if d.Found == nil {
			return nil
		}
		_, err := fmt.Fprintf(s.out, "%d of %d: %s %s\n", d.Done, d.Of, printable(d.Found.Address), printable(d.Found.Name))
		return err
	}
	const width = 30
	full := width * d.Done / max(d.Of, 1)
	left := time.Duration(0)
	if d.Done > 0 {
		left = time.Since(began) / time.Duration(d.Done) * time.Duration(d.Of-d.Done)
	}
	_, err := fmt.Fprintf(s.out, "\r\x1b[K[%s%s] %d of %d, %s left", strings.Repeat("#", full), strings.Repeat(" ", width-full), d.Done, d.Of, left.Round(time.Second))
	return err
}

func (w *discoverWord) print(s *screen, found []client.Found) error {
	if len(found) == 0 {
		_, err := fmt.Fprintf(s.out, "%s: nobody answers\n", w.Link)
		return err
	}
	if !s.lively {
		return nil // they were told as they were found
	}
	g := new(grid)
	g.add(bold, "ADDRESS", "NAME", "VALUE")
	for i := range found {
		g.add("", found[i].Address, found[i].Name, found[i].Value)
	}
	return g.print(s)
}
