package gateway

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/commands"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
	"github.com/fieldloom/fieldloom/core/gateway/internal/machine"
	"github.com/fieldloom/fieldloom/core/gateway/internal/operator"
	"github.com/fieldloom/fieldloom/core/gateway/internal/outlook"
	"github.com/fieldloom/fieldloom/core/gateway/internal/packages"
	"github.com/fieldloom/fieldloom/core/gateway/internal/status"
	"github.com/fieldloom/fieldloom/core/gateway/internal/upgrade"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// openDepot opens the drivers directory. Without a database nothing is remembered but
// the versions that are chosen.
func openDepot(c func() *config.Config, db depot.Store, chosen map[string]string, log *slog.Logger) (*depot.Depot, error) {
	return depot.Open(depot.Options{
		Dir:   func() string { return c().DriversDir },
		Trust: func() string { return c().TrustFile },
		Policy: func() depot.Policy {
			if c().AllowDev {
				return depot.AllowDev
			}
			return depot.Deny
		},
		DB: db, Chosen: chosen, Log: log,
	})
}

// openDrivers opens all that drivers are made of. It starts none but finds those that
// outlived an earlier gateway.
func (g *gateway) openDrivers() (err error) {
	if g.choices, err = choices.Open(g.data.DB); err != nil {
		return err
	}
	if g.depot, err = openDepot(func() *config.Config { return g.inForce.Get().Config }, g.data.DB, nil, g.o.Log); err != nil {
		return err
	}
	if g.runDir, err = launch.OpenRunDir(g.inForce.Get().Config, g.choices); err != nil {
		return err
	}
	g.launcher = launch.New(launch.Options{
		Depot: g.depot, Configs: g.inForce.All, Level: g.wantLevel, Log: g.o.Log,
		Services: func(driverName string) host.Services {
			return &launch.Services{DB: g.data.DB, InForce: g.inForce, Driver: driverName}
		},
		RunDir: g.runDir.Path, Notes: g.recordDir(), Owner: g.data.Owner, Attach: g.o.Attach,
	})
	g.launcher.TakeOver(supervise.Records(g.recordDir(), g.o.Log))
	g.drivers = supervise.New(supervise.Options{
		Log: g.o.Log, Spool: watchedSpool{g.spool, g.samples.Watchers}, CoreEpoch: g.data.Epoch, LastRun: g.spool.Stats().Last,
		Launch: g.launcher.Launch, Image: g.launcher.Pinned, Adopt: g.launcher.Adopt, Records: g.recordDir(),
		Detach:  g.inForce.Detaches,
		Handles: func(driverName string) wire.Handles { return g.catalog.Handles(driverName) },
	})
	g.openServices()
	return nil
}

// openServices makes what the API serves, and what goes on beside it.
func (g *gateway) openServices() {
	g.config = &configure.Service{
		InForce: g.inForce, Choices: g.choices, Catalog: g.catalog, Data: g.data, Drivers: g.drivers, Depot: g.depot,
		Attached: g.o.Attach, Stranded: g.runDir.Stranded, Instances: launch.Instances, Changed: g.changed,
		Level: g.o.Level, Log: g.o.Log,
	}
	g.outlook = outlook.New(g.spool, func(now time.Time) []string { return machine.Certificates(g.inForce.Get().Config, now) }, g.o.Log)
	upgrades := &upgrade.Service{
		InForce: g.inForce, Choices: g.choices, Drivers: g.drivers, Depot: g.depot, Attached: g.o.Attach, Tasks: &g.tasks,
	}
	g.renewer = &launch.Renewer{Launcher: g.launcher, Running: upgrades.Running, Upgrade: g.drivers.Upgrade, Tasks: &g.tasks, Log: g.o.Log}
	asked := &commands.Service{InForce: g.inForce, ControlOf: g.drivers.Control, Last: g.samples.ReadLast, Audit: g.audit, Log: g.o.Log}
	g.serves = api.Services{
		Gateway: g,
		Status: &status.Service{
			InForce: g.inForce, Choices: g.choices, Config: g.config, Drivers: g.drivers, Depot: g.depot, Spool: g.spool, Outlook: g.outlook,
			Health: g.Health, Warnings: g.allWarnings, Watchers: g.samples.Watchers, Process: g.launcher.Confined, LevelOf: g.wantLevel,
		},
		Config:   g.config,
		Commands: asked, Explorer: asked,
		Samples:  g.samples,
		Packages: &packages.Service{InForce: g.inForce, Choices: g.choices, Drivers: g.drivers, Depot: g.depot, RunsFrom: launch.RunsFrom},
		Choices: &operator.Service{
			InForce: g.inForce, Choices: g.choices, Config: g.config, Drivers: g.drivers, Depot: g.depot,
			LevelOf: g.wantLevel, FollowLevels: g.launcher.FollowLevels, Log: g.o.Log,
		},
		Upgrades: upgrades,
		History:  &status.History{InForce: g.inForce, Drivers: g.drivers},
	}
}

// changed follows a change of the configuration in force.
func (g *gateway) changed(old, now *inforce.Config, states bool) {
	if states {
		g.tellLimits()
	}
	g.tasks.Go(g.launcher.FollowLevels) // it asks processes, of which one may hang
	if old.TrustFile != now.TrustFile || old.AllowDev != now.AllowDev {
		g.warn()
	}
}

// recordDir holds the records of detached processes, and the notes of all.
func (g *gateway) recordDir() string { return filepath.Join(g.inForce.Get().DataDir, "run") }

// wantLevel is the level of a driver's log: the operator's, else the configuration's.
func (g *gateway) wantLevel(driverName string) slog.Level {
	var level slog.Level
	if chosen, ok := g.choices.Get().Levels[driverName]; ok && level.UnmarshalText([]byte(chosen)) == nil {
		return level
	}
	return g.inForce.Get().Process(driverName).Log
}

const (
	// lookOften is the time between two checks that drivers fit what they have to do.
	lookOften = 2 * time.Second
	// vetPause is the time between two attempts to have drivers check their part that
	// could not before.
	vetPause = 10 * time.Second
)

// takePackages follows the drivers directory. What comes and goes there starts and stops
// drivers; a configuration that could not be checked without it is checked then.
func (g *gateway) takePackages(ctx context.Context) error {
	look := time.NewTicker(lookOften)
	defer look.Stop()
	var vetted time.Time
	for {
		select {
		case <-g.depot.Changed():
			g.drivers.Refresh()
			g.config.RetryRefused(ctx)
		case now := <-look.C:
			if now.Sub(vetted) > vetPause && g.config.RetryUnready(ctx) {
				vetted = now
			}
			g.renewer.Look(maps.Keys(g.inForce.Get().States))
		case <-ctx.Done():
			return nil
		}
	}
}

// DriversByHand returns the drivers which somebody started by hand and which FIELDLOOM_ATTACH
// in the environment names: the paths of their records by their names, for Options.Attach.
func DriversByHand() (map[string]string, error) {
	return wire.ParseAttach(os.Getenv(wire.EnvAttach))
}
