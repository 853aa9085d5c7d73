package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/gateway"
)

type auditWord struct {
	Config string `help:"Directory of fieldloom.yaml. Default: the current one." default:"." type:"path" placeholder:"DIR"`
	Verify bool   `help:"Only check that no line was changed or taken out."`
	JSON   bool   `help:"As JSON."`
}

// Help has the examples.
func (*auditWord) Help() string {
	return `Prints every write that is kept, and every discovery: when, who, from where, which point, the value before, the new one and how it ended. Each line has the
hash of the one before, which is checked; what was changed or taken out is told at the end, and the exit code is then 1. It needs
no running gateway, and the right to read its data directory.

  fieldloom audit --config /etc/fieldloom
  fieldloom audit --verify`
}

// Run prints or checks the audit log.
func (w *auditWord) Run(_ context.Context, s *screen) error {
	data, err := (&remote{Config: w.Config}).dataDir()
	if err != nil {
		return err
	}
	report, err := gateway.Audit(data, func(e *gateway.AuditEntry) error {
		switch {
		case w.Verify:
			return nil
		case w.JSON:
			return printJSON(s.out, e)
		}
		_, err := fmt.Fprintln(s.out, printable(auditLine(e)))
		return err
	})
	if err != nil {
		return err
	}
	if w.Verify && w.JSON {
		if err := printJSON(s.out, report); err != nil {
			return err
		}
	}
	for _, line := range report.Wrong {
		if _, err := fmt.Fprintln(s.err, s.paint(red, printable(line))); err != nil {
			return err
		}
	}
	if len(report.Wrong) > 0 {
		return errReported
	}
	if w.Verify && !w.JSON {
		_, err = fmt.Fprintf(s.out, "well: lines %d to %d, %d missed, the last has the hash %s\n", report.First, report.Last, report.Missed, report.Hash)
	}
	return err
}

// auditLine is an entry for a person: the one that asked, or how it ended.
func auditLine(e *gateway.AuditEntry) string {
	who := fmt.Sprintf("%s (uid %d, pid %d, %s, %s)", e.User, e.UID, e.PID, e.Program, e.From)
	if e.User == "" {
		who = "not known"
	}
	if e.Of == 0 && e.Action != "" {
		return fmt.Sprintf("%d  %s  %s: %s %s, asked by %s", e.N, e.Time.Local().Format(time.DateTime), e.Point, e.Action, e.New, who)
	}
	if e.Of == 0 {
		old := string(e.Old)
		if old == "" {
			old = "not known"
		}
		return fmt.Sprintf("%d  %s  %s: %s to %s, asked by %s", e.N, e.Time.Local().Format(time.DateTime), e.Point, old, e.New, who)
	}
	return fmt.Sprintf("%d  %s  %s: %s: %s (line %d)", e.N, e.Time.Local().Format(time.DateTime), e.Point, e.New, e.Result, e.Of)
}
