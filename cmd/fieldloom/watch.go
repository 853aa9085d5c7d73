package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
)

type watchWord struct {
	Patterns []string `arg:"" optional:"" name:"pattern" help:"LINK/DEVICE/POINT with * ? [a-z] in it; LINK and LINK/DEVICE are all below them. Default: everything."`
	remote
	JSON  bool   `help:"One line of JSON a sample."`
	For   period `help:"End so long after everything stored was shown, instead of with Ctrl-C." placeholder:"10s"`
	Since since  `help:"Begin with what was stored since then, without a hole or a repetition: 5m, 2d, 1w ago, or at 20:15." placeholder:"5m"`
}

// Help has the examples.
func (*watchWord) Help() string {
	return `Shows the last value of every point and then samples from the moment that they are stored: as a table of the latest on a
terminal, else as lines. With --since it shows what was stored instead of the last values. A line with the fault "lost" says that
samples are missing, and why. When the gateway stops, it waits, and goes on where it ended when there is one again.

  fieldloom watch
  fieldloom watch 'line1/*/voltage' --since 5m
  fieldloom watch 'line1/*/voltage' --since 20:15
  fieldloom watch line1/m1 --json --for 10s | jq -r '[.point, .value] | @tsv'`
}

// Run watches.
func (w *watchWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	o := client.WatchOptions{Patterns: w.Patterns, For: time.Duration(w.For), Since: w.Since.before(time.Now())}
	o.Last = o.Since.IsZero()
	hintUnmatched(ctx, s, c, w.Patterns)
	if s.lively && !w.JSON {
		return watchTable(ctx, s, c, o)
	}
	var to io.Writer = newLineWriter(s)
	if w.JSON {
		to = s.out
	}
	tell := func(text string) { fmt.Fprintln(s.err, s.paint(yellow, "fieldloom: "+text)) }
	return follow(ctx, c, o, to, tell)
}

// watchTable draws the latest sample of each point.
func watchTable(ctx context.Context, s *screen, c *client.Client, o client.WatchOptions) error {
	t := newLatest(s)
	err := ticking(ctx, drawEvery, func(ctx context.Context) error { return follow(ctx, c, o, t, t.note) }, t.draw)
	t.draw()
	return err
}

// againAfter is how long follow waits before it asks again for a gateway that has stopped.
const againAfter = 500 * time.Millisecond

// follow writes a stream of samples to to, as lines of JSON, whole lines at a time. When the
// gateway stops it says so, waits until there is one again, and goes on exactly where it ended.
func follow(ctx context.Context, c *client.Client, o client.WatchOptions, to io.Writer, tell func(string)) error {
	var deadline time.Time
	if o.For > 0 {
		deadline = time.Now().Add(o.For)
	}
	waiting := false
	for {
		at, err := c.Lines(ctx, o, func(lines []byte) error {
			if waiting {
				waiting = false
				tell("the gateway is back")
			}
			_, err := to.Write(lines)
			return err
		})
		over := !deadline.IsZero() && time.Now().After(deadline)
		if err == nil || ctx.Err() != nil || at.IsZero() || over || !errors.Is(err, client.ErrUnreachable) {
			return err
		}
		if !waiting {
			waiting = true
			tell(err.Error() + ": waiting for it, to go on where it ended")
		}
		o.After, o.Since, o.Last = at, time.Time{}, false
		if o.For > 0 {
			o.For = max(time.Until(deadline), time.Millisecond)
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// period is a duration that takes days and weeks too, as the configuration does.
type period time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *period) UnmarshalText(text []byte) error {
	d, err := config.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: write a duration such as 10s, 5m, 2d or 1w", err)
	}
	*p = period(d)
	return nil
}

// since is a time in the past: a duration before now, or a time of the day, today's or
// yesterday's.
type since struct {
	ago   time.Duration
	clock time.Time // zero: ago
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *since) UnmarshalText(text []byte) error {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			*s = since{clock: t} // in the year 0: midnight is not the zero time
			return nil
		}
	}
	d, err := config.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: write a duration such as 5m, 2d or 1w, or a time of the day such as 20:15", err)
	}
	*s = since{ago: d}
	return nil
}

// before is the time, seen from now; zero where none was given.
func (s since) before(now time.Time) time.Time {
	if s.clock.IsZero() {
		if s.ago == 0 {
			return time.Time{}
		}
		return now.Add(-s.ago)
	}
	at := func(day int) time.Time {
		return time.Date(now.Year(), now.Month(), day, s.clock.Hour(), s.clock.Minute(), s.clock.Second(), 0, now.Location())
	}
	if today := at(now.Day()); !today.After(now) {
		return today
	}
	return at(now.Day() - 1)
}

// hintUnmatched says which patterns match nothing that is configured: they may be
// misspelt, or match what was stored before.
func hintUnmatched(ctx context.Context, s *screen, c *client.Client, patterns []string) {
	for _, p := range patterns {
		if points, err := c.Points(ctx, p); err == nil && len(points) == 0 {
			fmt.Fprintln(s.err, s.paint(yellow, "fieldloom: no configured point matches "+printable(p)+": `fieldloom status` shows links and devices"))
		}
	}
}
