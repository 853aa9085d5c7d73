package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

type statusWord struct {
	remote
	JSON bool `help:"As JSON."`
}

// Help has the examples.
func (*statusWord) Help() string {
	return `Each driver, link and device with its state, how long it is in it, and why. Counters run since the driver's process
started; rates are those since the last call, or since the start where there was none in the last five minutes.

  fieldloom status --config /etc/fieldloom
  fieldloom status --json | jq '.links[].devices[] | select(.state != "up")'`
}

// Run prints the status.
func (w *statusWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, status)
	}
	return printStatus(s, status, time.Now())
}

func printStatus(s *screen, st *client.Status, now time.Time) error {
	head := grid{}
	head.add("", "gateway", st.Gateway, fmt.Sprintf("up %s, pid %d, version %s", ago(st.Since, now), st.PID, st.Version))
	head.add("", "config", st.Config.Dir, fmt.Sprintf("revision %d, in force since %s", st.Config.Revision, ago(st.Config.Loaded, now)))
	for _, line := range st.Config.Errors {
		head.add(red, "", "refused", line)
	}
	head.add("", "spool", size(st.Spool.Bytes), spoolText(&st.Spool, now))
	if st.Spool.Fault != "" {
		head.add(red, "", "fault", st.Spool.Fault)
	}
	if err := head.print(s); err != nil {
		return err
	}
	for _, g := range []*grid{driverGrid(st, now), linkGrid(st, now), deviceGrid(st, now)} {
		if _, err := fmt.Fprintln(s.out); err != nil {
			return err
		}
		if err := g.print(s); err != nil {
			return err
		}
	}
	return nil
}

func spoolText(sp *client.SpoolStatus, now time.Time) string {
	text := fmt.Sprintf("%d records in %d files", sp.Records, sp.Files)
	if !sp.First.IsZero() {
		text += fmt.Sprintf(", of the last %s", ago(sp.First, now))
	}
	if sp.Lost > 0 {
		text += fmt.Sprintf(", %d lost", sp.Lost)
	}
	return text
}

func driverGrid(st *client.Status, now time.Time) *grid {
	g := new(grid)
	g.add(bold, "DRIVER", "STATE", "SINCE", "PID", "RESTARTS", "SAMPLES", "PER S", "GAPS", "RING", "CAUSE")
	for _, d := range st.Drivers {
		g.add(stateColour(d.State), d.Name, d.State, ago(d.Since, now), fmt.Sprint(d.PID), fmt.Sprint(d.Restarts), fmt.Sprint(d.Samples),
			rate(d.Rate), fmt.Sprint(d.Gaps), size(d.Ring), d.Cause)
		for _, line := range d.Stderr {
			if d.State != "active" {
				g.add(stateColour(d.State), "", "", "", "", "", "", "", "", "", "| "+line)
			}
		}
	}
	return g
}

func linkGrid(st *client.Status, now time.Time) *grid {
	g := new(grid)
	g.add(bold, "LINK", "DRIVER", "STATE", "SINCE", "DEVICES", "OPENED", "FAILED", "PER S", "CAUSE")
	for i := range st.Links {
		l := &st.Links[i]
		g.add(stateColour(l.State), l.Name, l.Driver, l.State, ago(l.Since, now), fmt.Sprint(len(l.Devices)), fmt.Sprint(l.Opens),
			fmt.Sprint(l.OpenFailures), rate(l.Rate), causeText(l.Cause))
	}
	return g
}

func deviceGrid(st *client.Status, now time.Time) *grid {
	g := new(grid)
	g.add(bold, "DEVICE", "STATE", "SINCE", "POLLS", "FAILED", "OVERRUN", "SAMPLES", "BAD", "PER S", "POLL MS", "LATE MS", "CAUSE")
	for i := range st.Links {
		for j := range st.Links[i].Devices {
			d := &st.Links[i].Devices[j]
			g.add(stateColour(d.State), st.Links[i].Name+"/"+d.Name, d.State, ago(d.Since, now), fmt.Sprint(d.Polls), fmt.Sprint(d.Failures),
				fmt.Sprint(d.Overruns), fmt.Sprint(d.Samples), fmt.Sprint(d.BadSamples), rate(d.Rate),
				fmt.Sprintf("%.1f", d.LastPoll), fmt.Sprintf("%.1f", d.LastLate), causeText(d.Cause))
		}
	}
	return g
}

func stateColour(state string) string {
	switch state {
	case "up", "active":
		return green
	case "down", "backing-off":
		return red
	}
	return yellow
}

func causeText(f *client.Fault) string {
	if f == nil {
		return ""
	}
	return f.String()
}

func rate(f float64) string { return fmt.Sprintf("%.1f", f) }
