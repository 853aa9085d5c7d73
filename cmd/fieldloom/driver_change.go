package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
)

// driverName is the argument and the flags of the words that change a driver.
type driverName struct {
	Name string `arg:"" help:"The driver."`
	remote
	JSON bool `help:"As JSON."`
}

// change calls f with the gateway and prints what was done.
func (w *driverName) change(s *screen, f func(c *client.Client) (client.DriverChange, error)) error {
	if err := checkDriver(w.Name); err != nil {
		return err
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	done, err := f(c)
	if err != nil {
		return err
	}
	return printChange(s, &done, w.JSON)
}

type driverEnableWord struct{ driverName }

// Help has the examples.
func (*driverEnableWord) Help() string {
	return `Starts at once what was disabled, is in quarantine or waits to be started again, and forgives the deaths before.

  fieldloom driver enable acme`
}

// Run enables.
func (w *driverEnableWord) Run(ctx context.Context, s *screen) error {
	return w.change(s, func(c *client.Client) (client.DriverChange, error) { return c.Enable(ctx, w.Name) })
}

type driverDisableWord struct{ driverName }

// Help has the examples.
func (*driverDisableWord) Help() string {
	return `The driver's links are down with the cause, also after a restart of the gateway.

  fieldloom driver disable acme`
}

// Run disables.
func (w *driverDisableWord) Run(ctx context.Context, s *screen) error {
	return w.change(s, func(c *client.Client) (client.DriverChange, error) { return c.Disable(ctx, w.Name) })
}

type driverLevelWord struct {
	Name  string `arg:"" help:"The driver."`
	Level string `arg:"" enum:"debug,info,warn,error,default" help:"debug, info, warn or error; default: as the configuration says."`
	remote
	JSON bool `help:"As JSON."`
}

// Help has the examples.
func (*driverLevelWord) Help() string {
	return `Changes the level of processes that run and of those to come, also after a restart of the gateway, until it is set to default.

  fieldloom driver level acme debug
  fieldloom driver level acme default`
}

// Run sets the level.
func (w *driverLevelWord) Run(ctx context.Context, s *screen) error {
	n := driverName{Name: w.Name, remote: w.remote, JSON: w.JSON}
	return n.change(s, func(c *client.Client) (client.DriverChange, error) { return c.SetLevel(ctx, w.Name, w.Level) })
}

type driverLogsWord struct {
	Name string `arg:"" help:"The driver."`
	remote
	Lines  int  `short:"n" help:"How many of the last lines." default:"200"`
	Follow bool `short:"f" help:"Then each new line, until Ctrl-C."`
	JSON   bool `help:"One line of JSON a line."`
}

// Help has the examples.
func (*driverLogsWord) Help() string {
	return `What the driver's processes wrote to stdout, stderr and their log, also those that have died: the last 200 lines are kept.

  fieldloom driver logs acme -f
  fieldloom driver logs acme -n 20`
}

// Run shows the lines.
func (w *driverLogsWord) Run(ctx context.Context, s *screen) error {
	if err := checkDriver(w.Name); err != nil {
		return err
	}
	if w.Lines < 0 || w.Lines > 10_000 {
		return &usageError{"-n takes a number from 0 to 10000"}
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for line, err := range c.Logs(ctx, w.Name, w.Lines, w.Follow) {
		if err != nil {
			return err
		}
		if err := printLogLine(s, &line, w.JSON); err != nil {
			return err
		}
	}
	return nil
}

func printLogLine(s *screen, line *client.LogLine, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, line)
	}
	colour := map[string]string{"error": red, "warn": yellow}[line.Level]
	for i, text := range strings.Split(strings.TrimRight(line.Text, "\n"), "\n") {
		text = printable(strings.ReplaceAll(text, "\t", "    "))
		if i == 0 {
			text = fmt.Sprintf("%s  %d  %-5s  %s", line.Time.Local().Format("2006-01-02T15:04:05.000"), line.PID, line.Level, text)
		} else {
			text = "    " + text // of a panic's stack, say
		}
		if _, err := fmt.Fprintln(s.out, s.paint(colour, text)); err != nil {
			return err
		}
	}
	return nil
}

type eventsWord struct {
	remote
	Lines  int  `short:"n" help:"How many of the last events." default:"50"`
	Follow bool `short:"f" help:"Then each new one, until Ctrl-C."`
	JSON   bool `help:"One line of JSON an event."`
}

// Help has the examples.
func (*eventsWord) Help() string {
	return `Each change of state of a driver process, with its cause.

  fieldloom events
  fieldloom events -f --json | jq 'select(.to == "backing-off")'`
}

// Run shows the events.
func (w *eventsWord) Run(ctx context.Context, s *screen) error {
	if w.Lines < 0 || w.Lines > 10_000 {
		return &usageError{"-n takes a number from 0 to 10000"}
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for e, err := range c.Events(ctx, w.Lines, w.Follow) {
		if err != nil {
			return err
		}
		if w.JSON {
			err = printJSON(s.out, e)
		} else {
			_, err = fmt.Fprintln(s.out, eventLine(s, &e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eventLine(s *screen, e *client.Event) string {
	line := fmt.Sprintf("%s  %s", e.Time.Local().Format("2006-01-02T15:04:05.000"), e.Driver)
	if e.PID > 0 {
		line += fmt.Sprintf("[%d]", e.PID)
	}
	if e.Link != "" {
		line += "  " + e.Link
	}
	switch {
	case e.Step != "":
		line += "  " + e.Step
	case e.From == e.To: // its first state
		line += "  " + e.To
	default:
		line += fmt.Sprintf("  %s -> %s", e.From, e.To)
	}
	if e.Cause != "" {
		line += ": " + e.Cause
	}
	return s.paint(stateColour(e.To), printable(line))
}
