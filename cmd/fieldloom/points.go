package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

type readWord struct {
	Points []string `arg:"" name:"point" help:"LINK/DEVICE/POINT, or a pattern of it."`
	remote
	JSON bool `help:"One line of JSON a sample."`
}

// Help has the examples.
func (*readWord) Help() string {
	return `Asks the devices now; a scan that is due waits behind it. The exit code is 1 when a point is not good.

  fieldloom read line1/m1/voltage
  fieldloom read 'line1/*/voltage' line2/plc/state --json`
}

// Run reads.
func (w *readWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	samples, err := c.Read(ctx, w.Points...)
	if err != nil {
		return err
	}
	var result error
	for i := range samples {
		if err := printSample(s, &samples[i], w.JSON); err != nil {
			return err
		}
		if samples[i].Quality != driver.Good {
			result = errReported
		}
	}
	return result
}

// printSample prints a sample as a line.
func printSample(s *screen, sample *client.Sample, asJSON bool) error {
	var to io.Writer = newLineWriter(s)
	if asJSON {
		to = s.out
	}
	_, err := to.Write(append(sample.AppendJSON(nil), '\n'))
	return err
}

type valuesWord struct {
	Patterns []string `arg:"" optional:"" name:"pattern" help:"LINK/DEVICE/POINT with * ? [a-z] in it; LINK and LINK/DEVICE are all below them. Default: everything."`
	remote
	JSON bool `help:"One line of JSON a point."`
}

// Help has the examples.
func (*valuesWord) Help() string {
	return `Shows the last value of every point with its age, without asking the devices: also of a point whose deadband has sent nothing for long,
and of a device that only sends by itself. A point that is bad has its fault, and the last good value where one is known.

  fieldloom values
  fieldloom values 'line1/*/voltage'
  fieldloom values line1/m1 --json | jq -r '[.point, .value, .time] | @tsv'`
}

// Run shows.
func (w *valuesWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	var to io.Writer = newLineWriter(s)
	if w.JSON {
		to = s.out
	}
	return c.Values(ctx, w.Patterns, func(lines []byte) error {
		_, err := to.Write(lines)
		return err
	})
}

type writeWord struct {
	Point string `arg:"" help:"LINK/DEVICE/POINT."`
	Value string `arg:"" help:"true, false, a number, or a text; in double quotes it is always a text."`
	remote
	JSON bool `help:"As JSON."`
}

// Help has the examples.
func (*writeWord) Help() string {
	return `Writes once, never again by itself, and waits until the device has acknowledged. The exit code is 1 when the value was not
written, and 4 when it may have been: the answer of the device, of its driver or of the gateway is lost, or Ctrl-C came before it.
Read the point then, before you write again. A negative number stands behind --.

  fieldloom write line1/m1/setpoint 42.5
  fieldloom write line1/m1/offset -- -3
  fieldloom write line1/lamp/name '"12"'`
}

// Run writes.
func (w *writeWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	value, err := json.Marshal(driver.ParseValue(w.Value))
	if err != nil {
		return fmt.Errorf("value %s: %w", w.Value, err)
	}
	done, err := c.Write(ctx, client.WriteRequest{Point: w.Point, Value: value})
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, done)
	}
	_, err = fmt.Fprintf(s.out, "%s = %s  %s\n", printable(done.Point), printable(strings.TrimSpace(string(done.Value))),
		s.paint(green, "acknowledged "+done.Time.Local().Format("15:04:05.000")))
	return err
}

// namesWord prints names, for the completion scripts.
type namesWord struct {
	remote
	Kind string `enum:"points,lines,drivers" default:"points"`
}

// Run prints the names, or nothing: a shell that completes must not be disturbed.
func (w *namesWord) Run(ctx context.Context, s *screen) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := w.connect()
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	defer c.Close()
	names, err := namesOf(ctx, c, w.Kind)
	if err != nil || len(names) == 0 {
		return nil //nolint:nilerr // as above
	}
	_, err = fmt.Fprintln(s.out, strings.Join(names, "\n"))
	return err
}

func namesOf(ctx context.Context, c *client.Client, kind string) (names []string, err error) {
	if kind == "drivers" {
		list, err := c.Packages(ctx)
		for i := range list {
			names = append(names, list[i].Driver)
		}
		slices.Sort(names)
		return slices.Compact(names), err
	}
	points, err := c.Points(ctx)
	for i := range points {
		p := &points[i]
		if kind == "points" {
			names = append(names, p.Path())
		} else {
			names = append(names, p.Link, p.Link+"/"+p.Device)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}
