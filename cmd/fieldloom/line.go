package main

import (
	"context"
	"fmt"

	"github.com/fieldloom/fieldloom/core/client"
)

// lineWords is the arguments and flags of offline and online.
type lineWords struct {
	Names []string `arg:"" optional:"" name:"name" help:"LINK or LINK/DEVICE."`
	remote
	Driver string `help:"A driver with all its links, instead of names." placeholder:"NAME"`
	JSON   bool   `help:"As JSON."`
}

// change calls f with the gateway and prints what became of each name.
func (w *lineWords) change(ctx context.Context, s *screen, force bool, f func(*client.Client, context.Context, client.LineRequest) ([]client.LineResult, error)) error {
	if (len(w.Names) == 0) == (w.Driver == "") {
		return &usageError{"name links or devices as LINK/DEVICE, or one driver with --driver"}
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	results, err := f(c, ctx, client.LineRequest{Names: w.Names, Driver: w.Driver, Force: force})
	if err != nil {
		return err
	}
	if w.JSON {
		if err := printJSON(s.out, client.LineList{Results: results}); err != nil {
			return err
		}
	}
	var failed error
	for i := range results {
		if results[i].Fault != nil {
			failed = errReported
		}
		if !w.JSON {
			if _, err := fmt.Fprintln(s.out, lineText(s, &results[i])); err != nil {
				return err
			}
		}
	}
	return failed
}

func lineText(s *screen, r *client.LineResult) string {
	switch {
	case r.Fault != nil:
		return s.paint(red, printable(r.Name+": stays off line: "+r.Fault.String()))
	case !r.Since.IsZero():
		return s.paint(yellow, printable(r.Name+": "+r.Text))
	}
	return s.paint(green, printable(r.Name+": "+r.Text))
}

type offlineWord struct{ lineWords }

// Help has the examples.
func (*offlineWord) Help() string {
	return `Finishes the poll in flight, closes the link, and marks the points Bad with the cause "taken off line by the operator". It stays so
across restarts of the gateway, until online.

  fieldloom offline line1
  fieldloom offline line1/m7 line2/boiler
  fieldloom offline --driver acme`
}

// Run takes off line.
func (w *offlineWord) Run(ctx context.Context, s *screen) error {
	return w.change(ctx, s, false, (*client.Client).Offline)
}

type onlineWord struct {
	lineWords
	Force bool `help:"Without a check: also what does not answer."`
}

// Help has the examples.
func (*onlineWord) Help() string {
	return `Opens the link and reads a point first: what does not answer stays off line, with its fault, and the exit code is 1. --force leaves
out the check: for a device that answers later, say.

  fieldloom online line1
  fieldloom online line1/m7 --force
  fieldloom online --driver acme`
}

// Run brings on line.
func (w *onlineWord) Run(ctx context.Context, s *screen) error {
	return w.change(ctx, s, w.Force, (*client.Client).Online)
}
