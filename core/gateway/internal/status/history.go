package status

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// History is what driver processes wrote and went through. The supervisor keeps it.
type History struct {
	InForce *inforce.Current
	Drivers *supervise.Supervisor
}

var _ api.History = (*History)(nil)

// Logs implements api.History.
func (h *History) Logs(ctx context.Context, driverName string, n int, follow bool, each func(client.LogLine) error) error {
	if err := h.InForce.Get().Known(driverName); err != nil {
		return err
	}
	if !follow {
		return eachLine(h.Drivers.Logs(driverName, n), each)
	}
	last, f, err := h.Drivers.Follow(driverName, n)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := eachLine(last, each); err != nil {
		return err
	}
	for {
		line, dropped, err := f.Next(ctx)
		if err != nil {
			return err
		}
		if dropped > 0 {
			lost := client.LogLine{Time: line.Time, PID: line.PID, Level: "warn", Text: fmt.Sprintf("%d lines are left out: this reader was too slow", dropped)}
			if err := each(lost); err != nil {
				return err
			}
		}
		if err := each(logLine(&line)); err != nil {
			return err
		}
	}
}

func eachLine(lines []host.Line, each func(client.LogLine) error) error {
	for i := range lines {
		if err := each(logLine(&lines[i])); err != nil {
			return err
		}
	}
	return nil
}

func logLine(l *host.Line) client.LogLine {
	text := l.Text
	for _, a := range l.Attrs {
		text += " " + a.String()
	}
	return client.LogLine{Time: l.Time, PID: l.PID, Level: levelWord(l.Level), Text: text}
}

// Events implements api.History.
func (h *History) Events(ctx context.Context, n int, follow bool, each func(client.Event) error) error {
	list, more := h.Drivers.Events(0)
	var last uint64
	if len(list) > 0 {
		last = list[len(list)-1].Number
	}
	list = list[max(0, len(list)-n):]
	for {
		for i := range list {
			last = list[i].Number
			if err := each(eventOf(&list[i])); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
		list, more = h.Drivers.Events(last)
	}
}

func eventOf(e *supervise.Event) client.Event {
	out := client.Event{Number: e.Number, Time: e.Time, Driver: e.Driver, Member: e.Member, PID: e.PID, Link: e.Link, Step: e.Step, Cause: e.Cause}
	if e.Step == "" {
		out.From, out.To = e.From.String(), e.To.String()
	}
	return out
}

func levelWord(l slog.Level) string { return strings.ToLower(l.String()) }
