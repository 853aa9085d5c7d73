package gateway

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/commands"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
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
	if g.runDir, g.forOthers, err = openRunDir(g.inForce.Get().Config, g.choices); err != nil {
		return err
	}
	g.sweep()
	g.logs = newDriverLogs(g.o.Log, g.wantLevel)
	g.launcher = &launcher{depot: g.depot, configs: g.inForce.All, services: func(kind string) host.Services { return &services{g.data.DB, g.inForce, kind} }, logs: g.logs, fleet: &g.fleet,
		runDir: g.runDir, notes: g.recordDir(), owner: g.data.Owner, attach: g.o.Attach}
	g.launcher.expect(supervise.Records(g.recordDir(), g.o.Log))
	if g.launcher.cgroup, err = confine.Delegated(); err != nil {
		g.launcher.noCgroup = err.Error()
	}
	g.drivers = supervise.New(supervise.Options{
		Log: g.o.Log, Spool: watchedSpool{g.spool, &g.watchers}, CoreEpoch: g.data.Epoch, LastRun: g.spool.Stats().Last,
		Launch: g.launcher.launch, Image: g.pinned(g.launcher.image), Adopt: g.launcher.adopt, Records: g.recordDir(),
		Detach:  g.inForce.Detaches,
		Handles: func(kind string) wire.Handles { return g.catalog.Handles(kind) },
	})
	g.openServices()
	return nil
}

// openServices makes what the API serves, and what goes on beside it.
func (g *gateway) openServices() {
	g.config = &configure.Service{InForce: g.inForce, Choices: g.choices, Catalog: g.catalog, Data: g.data, Drivers: g.drivers, Depot: g.depot,
		Attached: g.o.Attach, Stranded: g.stranded, Instances: desiredInstances, Changed: g.changed, Level: g.o.Level, Log: g.o.Log}
	g.outlook = outlook.New(g.spool, func(now time.Time) []string { return certificates(g.inForce.Get().Config, now) }, g.o.Log)
	upgrades := &upgrade.Service{InForce: g.inForce, Choices: g.choices, Drivers: g.drivers, Depot: g.depot, Attached: g.o.Attach, Tasks: &g.tasks}
	g.renewer = &renewer{launcher: g.launcher, fleet: &g.fleet, running: upgrades.Running, upgrade: g.drivers.Upgrade, tasks: &g.tasks, log: g.o.Log}
	g.serves = api.Services{
		Gateway: g,
		Status: &status.Service{InForce: g.inForce, Choices: g.choices, Config: g.config, Drivers: g.drivers, Depot: g.depot, Spool: g.spool, Outlook: g.outlook,
			Health: g.Health, Warnings: func() []string { return append(g.warnings(), g.limits()...) }, Watchers: func() int { return int(g.watchers.Load()) },
			Process: g.fleet.confined, LevelOf: g.wantLevel},
		Config:   g.config,
		Commands: &commands.Service{InForce: g.inForce, ControlOf: g.drivers.Control, Last: g.readLast, Audit: g.audit, Log: g.o.Log},
		Samples:  g,
		Packages: &packages.Service{InForce: g.inForce, Choices: g.choices, Drivers: g.drivers, Depot: g.depot,
			RunsFrom: func(of *depot.Image, hash string) bool { return image{of: of}.IsOf(hash) }},
		Choices: &operator.Service{InForce: g.inForce, Choices: g.choices, Config: g.config, Drivers: g.drivers, Depot: g.depot,
			LevelOf: g.wantLevel, FollowLevels: g.followLevels, Log: g.o.Log},
		Upgrades: upgrades,
		History:  &status.History{InForce: g.inForce, Drivers: g.drivers},
	}
}

// stranded is a driver of c whose user does not get to the directory of the processes'
// sockets, which has its place since the start; empty: there is none.
func (g *gateway) stranded(c *config.Config) string {
	if g.forOthers {
		return ""
	}
	return otherUser(c)
}

// changed follows a change of the configuration in force.
func (g *gateway) changed(old, now *inforce.Config, states bool) {
	if states {
		g.tellLimits()
	}
	g.tasks.Go(g.followLevels) // it asks processes, of which one may hang
	if old.TrustFile != now.TrustFile || old.AllowDev != now.AllowDev {
		g.warn()
	}
}

// followLevels puts the wanted levels of drivers' logs in force.
func (g *gateway) followLevels(ctx context.Context) { g.logs.follow(ctx, &g.fleet) }

// boundDirs kills processes whose directories outgrow their bounds, until ctx is done.
func (g *gateway) boundDirs(ctx context.Context) {
	guard := &dirGuard{inForce: g.inForce, fleet: &g.fleet, runDir: g.runDir, kill: g.drivers.Kill, log: g.o.Log}
	guard.run(ctx)
}

// sweep ends the processes of an earlier gateway that cannot be taken over, and removes
// what dead ones have left. The data directory is this gateway's alone by now.
func (g *gateway) sweep() {
	err := host.Leftovers{
		RunDir: g.runDir, Notes: g.recordDir(), Owner: g.data.Owner, Log: g.o.Log,
		Keep: processesOf(supervise.Records(g.recordDir(), g.o.Log)),
	}.Sweep(context.Background())
	if err != nil {
		g.o.Log.Error("end and remove what an earlier gateway has left", "err", err)
	}
}

// recordDir holds the records of detached processes, and the notes of all.
func (g *gateway) recordDir() string { return filepath.Join(g.inForce.Get().DataDir, "run") }

// wantLevel is the level of a driver's log: the operator's, else the configuration's.
func (g *gateway) wantLevel(kind string) slog.Level {
	var level slog.Level
	if chosen, ok := g.choices.Get().Levels[kind]; ok && level.UnmarshalText([]byte(chosen)) == nil {
		return level
	}
	return g.inForce.Get().Process(kind).Log
}

// pinned makes the version that a driver first ran from its version until the operator
// says otherwise: a package that is installed later, or a newer one that comes back,
// changes nothing that runs.
func (g *gateway) pinned(find func(kind, version string) (supervise.Image, error)) func(kind, version string) (supervise.Image, error) {
	return func(kind, version string) (supervise.Image, error) {
		found, err := find(kind, version)
		img, packed := found.(image)
		if err != nil || version != "" || !packed || img.of.Unsigned {
			return found, err
		}
		if err := g.depot.SetActive(kind, img.of.Version); err != nil {
			return nil, err
		}
		return found, nil
	}
}

const (
	// lookOften is how often it is looked whether drivers fit what they have to do.
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
			g.renewer.look(maps.Keys(g.inForce.Get().States))
		case <-ctx.Done():
			return nil
		}
	}
}
