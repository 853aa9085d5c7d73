package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
)

type watchWord struct {
	Patterns []string `arg:"" optional:"" name:"pattern" help:"LINK/DEVICE/POINT with * ? [a-z] in it; LINK and LINK/DEVICE are all below them. Default: everything."`
	remote
	JSON  bool   `help:"One line of JSON a sample."`
	For   period `help:"End so long after everything stored was shown, instead of with Ctrl-C." placeholder:"10s"`
	Since period `help:"Begin with what was stored in this time, without a hole or a repetition: 5m, 2d, 1w." placeholder:"5m"`
}

// Help has the examples.
func (*watchWord) Help() string {
	return `Shows samples from the moment that they are stored: as a table of the latest on a terminal, else as lines. A line with the
fault "lost" says that samples are missing, and why.

  fieldloom watch
  fieldloom watch 'line1/*/voltage' --since 5m
  fieldloom watch line1/m1 --json --for 10s | jq -r '[.point, .value] | @tsv'`
}

// Run watches.
func (w *watchWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	o := client.WatchOptions{Patterns: w.Patterns, For: time.Duration(w.For)}
	if w.Since > 0 {
		o.Since = time.Now().Add(-time.Duration(w.Since))
	}
	hintUnmatched(ctx, s, c, w.Patterns)
	if s.lively && !w.JSON {
		return watchTable(ctx, s, c, o)
	}
	return watchLines(ctx, s, c, o, w.JSON)
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

// hintUnmatched says which patterns match nothing that is configured: they may be
// misspelt, or match what was stored before.
func hintUnmatched(ctx context.Context, s *screen, c *client.Client, patterns []string) {
	for _, p := range patterns {
		if points, err := c.Points(ctx, p); err == nil && len(points) == 0 {
			fmt.Fprintln(s.err, s.paint(yellow, "fieldloom: no configured point matches "+printable(p)+": `fieldloom status` shows links and devices"))
		}
	}
}

// watchLines prints a line a sample. Lines are written together while they come
// quickly, and never later than flushEvery.
func watchLines(ctx context.Context, s *screen, c *client.Client, o client.WatchOptions, asJSON bool) error {
	out := bufio.NewWriterSize(s.out, 64<<10)
	to := *s
	to.out = out
	next := time.Now()
	for sample, err := range watching(ctx, c, o, flushEvery) {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if sample != nil {
			if err := printSample(&to, sample, asJSON); err != nil {
				return err
			}
		}
		if now := time.Now(); sample == nil || now.After(next) {
			next = now.Add(flushEvery)
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// watchTable draws the latest sample of each point.
func watchTable(ctx context.Context, s *screen, c *client.Client, o client.WatchOptions) error {
	t := newLatest(s)
	next := time.Now()
	for sample, err := range watching(ctx, c, o, drawEvery) {
		if err != nil {
			return err
		}
		if sample != nil {
			t.take(*sample)
		}
		if now := time.Now(); now.After(next) {
			next = now.Add(drawEvery)
			t.draw()
		}
	}
	t.draw()
	return nil
}

// latest is a live table of the latest sample of each point.
type latest struct {
	s       *screen
	canvas  canvas
	samples map[string]client.Sample
	names   []string // sorted
	dirty   bool     // names is not
	taken   uint64
	notice  string
}

func newLatest(s *screen) *latest {
	return &latest{s: s, canvas: canvas{s: s}, samples: make(map[string]client.Sample)}
}

func (t *latest) take(sample client.Sample) {
	t.taken++
	if sample.Link == "" && sample.Fault != nil {
		t.notice = sample.Time.Local().Format("15:04:05 ") + sample.Fault.String()
		return
	}
	name := sample.Path()
	if _, known := t.samples[name]; !known {
		t.names = append(t.names, name)
		t.dirty = true
	}
	t.samples[name] = sample
}

func (t *latest) draw() {
	if t.dirty {
		slices.Sort(t.names)
		t.dirty = false
	}
	width, height := t.s.size()
	g := new(grid)
	g.add(bold, "POINT", "VALUE", "QUALITY", "AGE", "FAULT")
	now := time.Now()
	for _, name := range t.names[:min(len(t.names), height)] {
		sample := t.samples[name]
		fault := ""
		if sample.Fault != nil {
			fault = sample.Fault.String()
		}
		g.add(qualityColour(sample.Quality), name, short(sample.Value.String(), 40), sample.Quality.String(), ago(sample.Time, now), fault)
	}
	foot := fmt.Sprintf("%d points, %d samples", len(t.names), t.taken)
	if t.notice != "" {
		foot += "; " + short(printable(t.notice), max(width-len(foot)-2, 10))
	}
	t.canvas.draw(append([]string{short(foot, width)}, g.lines(t.s, width)...), max(len(t.names)-height, 0))
}

func short(text string, limit int) string {
	if r := []rune(text); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return text
}
