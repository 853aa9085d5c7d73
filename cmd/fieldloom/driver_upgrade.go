package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/pack"
)

type driverUpgradeWord struct {
	Name string `arg:"" help:"The driver."`
	To   string `arg:"" optional:"" help:"A version that is installed, or a package to install first. Default: the newest."`
	remote
	JSON bool `help:"One line of JSON a step."`
}

// Help has the examples.
func (*driverUpgradeWord) Help() string {
	return `Starts the other version beside the one that runs, gives it the configuration, and hands over link by link between two polls.
When it does not start, takes over badly, or does worse for a while (processes.NAME.probation), the old version takes the links
back, and the exit code is 1. Ctrl-C ends only the report, and the exit code is 4.

  fieldloom driver upgrade acme
  fieldloom driver upgrade acme 1.2.4
  fieldloom driver upgrade acme ./acme-1.2.4.tar.gz`
}

// Run upgrades.
func (w *driverUpgradeWord) Run(ctx context.Context, s *screen) error {
	if err := checkDriver(w.Name); err != nil {
		return err
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	version := w.To
	if isPackagePath(w.To) {
		p, err := install(ctx, c, w.To)
		switch {
		case err != nil:
			return err
		case p.Driver != w.Name:
			return fmt.Errorf("%s is a package of driver %s, not of %s: it is installed now; remove it, or upgrade %s", w.To, p.Driver, w.Name, p.Driver)
		}
		version = p.Version
	}
	return showSteps(ctx, s, c.Upgrade(ctx, w.Name, version), w.JSON)
}

// isPackagePath tells a path from a version.
func isPackagePath(to string) bool {
	if strings.HasSuffix(to, pack.ArchiveSuffix) || strings.ContainsRune(to, os.PathSeparator) {
		return true
	}
	info, err := os.Stat(to)
	return err == nil && info.IsDir()
}

type driverRollbackWord struct {
	Name    string `arg:"" help:"The driver."`
	Version string `arg:"" optional:"" help:"A version that was accepted before. Default: the one that was active before."`
	remote
	JSON bool `help:"One line of JSON a step."`
}

// Help has the examples.
func (*driverRollbackWord) Help() string {
	return `The same steps as upgrade, to a version that ran before. It must still be in the drivers directory. While an upgrade is in hand,
also during its probation, it is broken off, and the version before takes the links back at once.

  fieldloom driver rollback acme`
}

// Run rolls back.
func (w *driverRollbackWord) Run(ctx context.Context, s *screen) error {
	if err := checkDriver(w.Name); err != nil {
		return err
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return showSteps(ctx, s, c.Rollback(ctx, w.Name, w.Version), w.JSON)
}

// showSteps prints each step as it happens, with a bar on a terminal, and ends with the
// fault of the last one.
func showSteps(ctx context.Context, s *screen, steps iter.Seq2[client.Step, error], asJSON bool) error {
	bar := progress{s: s}
	final := false
	var fault error
	for step, err := range steps {
		if err != nil {
			bar.clear()
			return err
		}
		final = final || step.Final
		switch {
		case asJSON:
			if err := printJSON(s.out, step); err != nil {
				return err
			}
		default:
			bar.clear()
			if _, err := fmt.Fprintln(s.out, stepLine(s, &step)); err != nil {
				return err
			}
			bar.draw(&step)
		}
		if step.Fault != nil {
			fault = &silentError{stepError(step.Fault)}
		}
	}
	switch {
	case final:
		return fault
	case ctx.Err() != nil:
		return fmt.Errorf("%w: the report ends here; the gateway goes on: `fieldloom driver list` shows the outcome", client.ErrUnconfirmed)
	}
	return fmt.Errorf("%w: the gateway's report ended before the upgrade did: `fieldloom driver list` shows the outcome", client.ErrUnconfirmed)
}

// stepError is the error of a fault, one of client.ErrUnconfirmed where it says that.
func stepError(f *client.Fault) error {
	if f.Code == client.CodeUnconfirmed {
		return fmt.Errorf("%w: %s", client.ErrUnconfirmed, f.Text)
	}
	return errors.New(f.String())
}

func stepLine(s *screen, step *client.Step) string {
	line := step.Time.Local().Format("15:04:05.000  ") + printable(step.Text)
	switch {
	case step.Fault != nil:
		return s.paint(red, line+": "+printable(step.Fault.String()))
	case step.Final:
		return s.paint(green, line)
	}
	return line
}

// progress is a bar in the last line of a terminal.
type progress struct {
	s     *screen
	shown bool
	began time.Time
}

const barWidth = 40

func (p *progress) draw(step *client.Step) {
	if !p.s.lively || step.Final || step.Of == 0 {
		return
	}
	if p.began.IsZero() {
		p.began = step.Time
	}
	full := min(barWidth*step.Done/step.Of, barWidth)
	fmt.Fprintf(p.s.out, "[%s%s] %d of %d, %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), step.Done, step.Of,
		ago(p.began, step.Time))
	p.shown = true
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.s.out, "\r\x1b[K")
		p.shown = false
	}
}
