package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// Packages implements api.Gateway.
func (g *gateway) Packages(context.Context) ([]client.Package, error) {
	g.depot.Scan()
	list := listPackages(g.depot, g.inForce.Get().Config, g.choices.Get())
	for i := range list {
		g.showRuns(&list[i])
	}
	return list, usable(g.depot)
}

// showRuns tells which processes run from a package, or did from what lay there before.
func (g *gateway) showRuns(p *client.Package) {
	of, err := g.depot.ImageOf(p.Driver, p.Version)
	for _, r := range g.drivers.Runs(p.Driver) {
		if r.Version != p.Version {
			continue
		}
		p.Processes++
		p.Holds += r.Links
		if err != nil || !(image{of: of}).IsOf(r.Hash) {
			p.Stale = true
		}
	}
}

// Install implements api.Gateway.
func (g *gateway) Install(_ context.Context, archive io.Reader) (client.Package, error) {
	return installPackage(g.depot, g.inForce.Get().Config, g.choices.Get(), archive)
}

// Remove implements api.Gateway. The depot tells takePackages, which stops what ran from
// it.
func (g *gateway) Remove(_ context.Context, name, version string, force bool) (client.DriverChange, error) {
	done, err := removePackage(g.depot, name, version, func(version string) string {
		runs := slices.ContainsFunc(g.drivers.Runs(name), func(r supervise.Run) bool { return r.Version == version })
		if force || !runs && g.activeVersion(name) != version {
			return ""
		}
		return usedBy(g.inForce.Get().Config, name)
	})
	if err == nil && g.inForce.Get().States[name] != nil {
		if _, gone := g.depot.Image(name); gone != nil {
			done.Text += "; its links go down"
		}
	}
	return done, err
}

// Enable implements api.Gateway.
func (g *gateway) Enable(_ context.Context, kind string) (client.DriverChange, error) {
	g.depot.Scan() // what is started is what lies there now
	g.reloading.Lock()
	defer g.reloading.Unlock()
	_, disabled := g.choices.Get().Disabled[kind]
	if err := g.inForce.Get().Known(kind); err != nil && !disabled {
		return client.DriverChange{}, err
	}
	if disabled {
		if err := g.choices.Change(func(c *choices.Choices) { delete(c.Disabled, kind) }); err != nil {
			return client.DriverChange{}, err
		}
		g.setDrivers()
	}
	if err := g.drivers.Enable(kind); err != nil && g.inForce.Get().Known(kind) == nil {
		return client.DriverChange{}, err
	}
	g.o.Log.Info("enabled by the operator", "driver", kind)
	return client.DriverChange{Driver: kind, Text: fmt.Sprintf("driver %s is enabled", kind)}, nil
}

// Disable implements api.Gateway.
func (g *gateway) Disable(_ context.Context, kind string) (client.DriverChange, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	if err := g.inForce.Get().Known(kind); err != nil {
		return client.DriverChange{}, err
	}
	if err := g.choices.Change(func(c *choices.Choices) { choices.KeepTime(c.Disabled, kind, time.Now()) }); err != nil {
		return client.DriverChange{}, err
	}
	g.setDrivers()
	g.o.Log.Warn("disabled by the operator", "driver", kind)
	return client.DriverChange{Driver: kind, Text: fmt.Sprintf("driver %s is disabled: its links are down until it is enabled", kind)}, nil
}

// SetLevel implements api.Gateway.
func (g *gateway) SetLevel(ctx context.Context, kind, level string) (client.DriverChange, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	if err := g.inForce.Get().Known(kind); err != nil {
		return client.DriverChange{}, err
	}
	err := g.choices.Change(func(c *choices.Choices) {
		if level == "default" {
			delete(c.Levels, kind)
		} else {
			c.Levels[kind] = level
		}
	})
	if err != nil {
		return client.DriverChange{}, err
	}
	g.logs.follow(ctx, &g.fleet)
	return client.DriverChange{Driver: kind, Text: fmt.Sprintf("driver %s logs from level %s on", kind, levelWord(g.wantLevel(kind)))}, nil
}

func levelWord(l slog.Level) string { return strings.ToLower(l.String()) }

// Logs implements api.Gateway.
func (g *gateway) Logs(ctx context.Context, kind string, n int, follow bool, each func(client.LogLine) error) error {
	if err := g.inForce.Get().Known(kind); err != nil {
		return err
	}
	if !follow {
		return eachLine(g.drivers.Logs(kind, n), each)
	}
	last, f, err := g.drivers.Follow(kind, n)
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

// Events implements api.Gateway.
func (g *gateway) Events(ctx context.Context, n int, follow bool, each func(client.Event) error) error {
	list, more := g.drivers.Events(0)
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
		list, more = g.drivers.Events(last)
	}
}

func eventOf(e *supervise.Event) client.Event {
	out := client.Event{Number: e.Number, Time: e.Time, Driver: e.Driver, Member: e.Member, PID: e.PID, Link: e.Link, Step: e.Step, Cause: e.Cause}
	if e.Step == "" {
		out.From, out.To = e.From.String(), e.To.String()
	}
	return out
}

// Stop implements api.Gateway.
func (g *gateway) Stop(drivers bool) {
	g.stopDrivers.Store(drivers)
	g.o.Log.Info("stopped by the operator", "drivers", drivers)
	g.stop()
}

// warn says loudly what is loosened.
func (g *gateway) warn() {
	for _, text := range g.warnings() {
		g.o.Log.Warn("the gateway is loosened", "err", errors.New(text))
	}
}

// warnings are what is loosened and should not stay so.
func (g *gateway) warnings() []string {
	list := slices.Clone(g.data.Lost)
	a := g.inForce.Get()
	if a.AllowDev {
		list = append(list, "unsigned: allow-dev: drivers that nobody signed may run here: set `unsigned: deny` in a plant")
	}
	for _, kind := range slices.Sorted(maps.Keys(g.o.Attach)) {
		text := fmt.Sprintf("driver %s is one that somebody started by hand (%s): neither verified nor confined", kind, g.o.Attach[kind])
		if !slices.Contains(a.Drivers(), kind) {
			text = fmt.Sprintf("no link uses driver %s", kind)
		}
		list = append(list, "FIELDLOOM_ATTACH: "+text)
	}
	for _, kind := range a.Drivers() {
		if g.o.Attach[kind] != "" {
			continue
		}
		if a.Process(kind).Confine == config.ConfineOff {
			list = append(list, fmt.Sprintf("confine: off: driver %s may reach whatever the gateway can", kind))
		}
	}
	return list
}

// wantedMemory is what the packages of drivers ask for.
func wantedMemory(packages *depot.Depot) func(kind string) int64 {
	return func(kind string) int64 {
		of, err := packages.Image(kind)
		if err != nil {
			return 0
		}
		return of.Manifest.Wants.Memory
	}
}
