package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/internal/depot"
)

// Enable implements api.Gateway.
func (g *gateway) Enable(_ context.Context, kind string) (client.DriverChange, error) {
	g.depot.Scan() // what is started is what lies there now
	defer g.config.Hold()()
	_, disabled := g.choices.Get().Disabled[kind]
	if err := g.inForce.Get().Known(kind); err != nil && !disabled {
		return client.DriverChange{}, err
	}
	if disabled {
		if err := g.choices.Change(func(c *choices.Choices) { delete(c.Disabled, kind) }); err != nil {
			return client.DriverChange{}, err
		}
		g.config.SetDrivers()
	}
	if err := g.drivers.Enable(kind); err != nil && g.inForce.Get().Known(kind) == nil {
		return client.DriverChange{}, err
	}
	g.o.Log.Info("enabled by the operator", "driver", kind)
	return client.DriverChange{Driver: kind, Text: fmt.Sprintf("driver %s is enabled", kind)}, nil
}

// Disable implements api.Gateway.
func (g *gateway) Disable(_ context.Context, kind string) (client.DriverChange, error) {
	defer g.config.Hold()()
	if err := g.inForce.Get().Known(kind); err != nil {
		return client.DriverChange{}, err
	}
	if err := g.choices.Change(func(c *choices.Choices) { choices.KeepTime(c.Disabled, kind, time.Now()) }); err != nil {
		return client.DriverChange{}, err
	}
	g.config.SetDrivers()
	g.o.Log.Warn("disabled by the operator", "driver", kind)
	return client.DriverChange{Driver: kind, Text: fmt.Sprintf("driver %s is disabled: its links are down until it is enabled", kind)}, nil
}

// SetLevel implements api.Gateway.
func (g *gateway) SetLevel(ctx context.Context, kind, level string) (client.DriverChange, error) {
	defer g.config.Hold()()
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
