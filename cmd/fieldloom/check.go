package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
)

type checkWord struct {
	Config string `help:"Directory of fieldloom.yaml. Default: the current one." default:"." type:"path" placeholder:"DIR"`
	JSON   bool   `help:"As JSON."`
}

// Help has the examples.
func (*checkWord) Help() string {
	return `Reads the whole configuration, checks it against the drivers' schemas, and lets every driver check its addresses. All that is
wrong is listed with file, line and column; the exit code is then 2. Nothing is connected to, nothing is stored.

  fieldloom check
  fieldloom check --config /etc/fieldloom && systemctl reload fieldloom`
}

// checkResult is the answer as JSON.
type checkResult struct {
	OK     bool     `json:"ok"`
	Errors []string `json:"errors"`
	// Warnings are what is likely to be wrong, here or on this machine.
	Warnings []string `json:"warnings,omitempty"`
	Drivers  []string `json:"drivers"`
	Links    int      `json:"links"`
	Devices  int      `json:"devices"`
	Points   int      `json:"points"`
	// LastGood is the copy of the configuration that is used in place of a wrong one.
	LastGood string `json:"last_good,omitempty"`
}

// Run checks the configuration.
func (w *checkWord) Run(ctx context.Context, s *screen) error {
	checked, err := gateway.Check(ctx, w.Config, slog.New(slog.DiscardHandler)) // it tells all of it
	if err != nil {
		return w.failed(s, checked, err)
	}
	r := summarise(checked.Config)
	for _, d := range checked.Drivers {
		r.Drivers = append(r.Drivers, d.Name+" "+d.Version)
	}
	r.Warnings = checked.Warnings
	if w.JSON {
		return printJSON(s.out, r)
	}
	if err := printWarnings(s, r.Warnings); err != nil {
		return err
	}
	verdict := "well"
	if len(r.Warnings) > 0 {
		verdict = fmt.Sprintf("no error, %d warnings", len(r.Warnings))
	}
	_, err = fmt.Fprintf(s.out, "%s: %s: %d links, %d devices, %d points, drivers %v\n", w.Config, verdict, r.Links, r.Devices, r.Points, r.Drivers)
	return err
}

func printWarnings(s *screen, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(s.out, s.paint(yellow, printable("warning: "+line))); err != nil {
			return err
		}
	}
	return nil
}

func (w *checkWord) failed(s *screen, checked *gateway.Checked, err error) error {
	wrong, ok := err.(*gateway.RefusedError) //nolint:errorlint // Check answers exactly this, or a cancelled context
	if !ok {
		return err
	}
	good := gateway.LastGood(w.Config)
	if w.JSON {
		r := checkResult{Errors: wrong.Lines(), Warnings: checked.Warnings, Drivers: []string{}}
		if good != nil {
			r.LastGood = good.Path
		}
		if err := printJSON(s.out, r); err != nil {
			return err
		}
		return &silentError{wrong}
	}
	if err := printWarnings(s, checked.Warnings); err != nil {
		return err
	}
	for _, line := range wrong.Lines() {
		if _, err := fmt.Fprintln(s.out, s.paint(red, printableLines(line))); err != nil {
			return err
		}
	}
	if good != nil {
		if _, err := fmt.Fprintf(s.out, "until this is mended a gateway uses what was good last, %s of %s: of a link file that is wrong its earlier version, of any other file all\n",
			good.Path, good.Saved.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	return &silentError{wrong}
}

func summarise(c *config.Config) checkResult {
	r := checkResult{OK: true, Errors: []string{}, Links: len(c.Links)}
	for _, l := range c.Links {
		r.Devices += len(l.Devices)
		for _, d := range l.Devices {
			r.Points += len(d.Table.Points)
		}
	}
	return r
}

// silentError is an error that was printed already, and keeps its exit code.
type silentError struct{ cause error }

func (e *silentError) Error() string { return e.cause.Error() }

func (e *silentError) Unwrap() []error { return []error{e.cause, errReported} }
