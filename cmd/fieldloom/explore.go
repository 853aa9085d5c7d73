package main

import (
	"context"
	"fmt"
	"strings"

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
	found, err = printRaw(s, found)
	if err != nil {
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
		if f.Address == "" {
			access = "" // it is no point
		}
		g.add(colour, mark, f.Address, f.Name, f.Value, access)
	}
	return printFit(s, g)
}

// printRaw prints the bytes that a device sent above the table: they are wider than its columns.
// It returns the rest.
func printRaw(s *screen, found []client.Found) ([]client.Found, error) {
	if found[0].Name != "raw" {
		return found, nil
	}
	width, _ := s.size()
	for _, line := range wrap(printable(found[0].Address+" is "+found[0].Value), min(width, 80)) {
		if _, err := fmt.Fprintln(s.out, line); err != nil {
			return nil, err
		}
	}
	return found[1:], nil
}
