package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
)

// warn says loudly what is loosened.
func (g *gateway) warn() {
	for _, text := range g.warnings() {
		g.o.Log.Warn("the gateway is loosened", "err", errors.New(text))
	}
}

// warnings are what is loosened and should not stay so, and what drivers may not reach though
// their links name it.
func (g *gateway) warnings() []string {
	list := slices.Clone(g.data.Lost)
	a := g.inForce.Get()
	if a.AllowDev {
		list = append(list, "unsigned: allow-dev: drivers that nobody signed may run here: set `unsigned: deny` in a plant")
	}
	for _, driverName := range slices.Sorted(maps.Keys(g.o.Attach)) {
		text := fmt.Sprintf("driver %s is one that somebody started by hand (%s): neither verified nor confined", driverName, g.o.Attach[driverName])
		if !slices.Contains(a.Drivers(), driverName) {
			text = fmt.Sprintf("no link uses driver %s", driverName)
		}
		list = append(list, "FIELDLOOM_ATTACH: "+text)
	}
	for _, driverName := range a.Drivers() {
		if g.o.Attach[driverName] != "" {
			continue
		}
		if a.Process(driverName).Confine == config.ConfineOff {
			list = append(list, fmt.Sprintf("confine: off: driver %s may reach whatever the gateway can", driverName))
		}
		list = append(list, g.launcher.OutOfReach(driverName)...)
	}
	return list
}

// allWarnings are the warnings, and which limits are near.
func (g *gateway) allWarnings() []string { return append(g.warnings(), g.limits()...) }

// limits says which limits the configuration in force reaches.
func (g *gateway) limits() []string { return launch.LimitWarnings(g.inForce.Get().Config, g.depot) }

// tellLimits logs which limits are near.
func (g *gateway) tellLimits() {
	for _, text := range g.limits() {
		g.o.Log.Warn("a limit is near", "err", errors.New(text))
	}
}
