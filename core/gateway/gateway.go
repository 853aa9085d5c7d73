// Package gateway wires one gateway.
//
// Run runs it until its context ends. Check validates a configuration and connects to
// nothing. Try runs one driver alone. Replay and Audit read what a gateway that does not run
// has stored.
//
// The gateway itself only opens, joins and closes what is in the packages below it:
//
//   - inforce, choices and datadir hold what is: the configuration in force (read without a
//     lock, replaced as a whole), what the operator chose (a lock of the book's own), the
//     database;
//   - configure alone changes what is in force; its lock is held from the look at the old
//     one to the new one, and operator holds it for the commands of the operator;
//   - launch starts driver processes for the supervisor, which alone knows their states;
//   - commands, samples, packages, upgrade, status and operator each serve a part of the
//     API, and have no lock but those of what they remember between two calls.
//
// Calls go one way: from the API to a service, from there to configure or the supervisor,
// from there to launch.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
	"github.com/fieldloom/fieldloom/core/gateway/internal/outlook"
	"github.com/fieldloom/fieldloom/core/gateway/internal/samples"
	"github.com/fieldloom/fieldloom/core/gateway/internal/tasks"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/audit"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/procs"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A RefusedError says that a configuration cannot be put in force, and lists everything why,
// with its position where it has one.
type RefusedError = configure.RefusedError

// A Start is a configuration to start a gateway with: what the files say, those that are
// wrong set aside, or the last good one where that is not possible.
type Start = configure.Start

// Load loads what a gateway starts with. An error is a *RefusedError: the files are wrong,
// and there is no last good configuration.
func Load(dir string) (*Start, error) { return configure.Load(dir) }

// LastGood finds the copy of the last good configuration of dir; nil: there is none. It
// reads no more of fieldloom.yaml than where the data are: the file may be wrong.
func LastGood(dir string) *configure.Good { return configure.LastGood(dir) }

// Options make a gateway.
type Options struct {
	Config  *config.Config  // as loaded from its directory; later versions are loaded from there
	Start   *Start          // what Load made of the directory, in the place of Config; may be nil
	Version string          // of fieldloom
	Log     *slog.Logger    // nil: silent
	Level   *slog.LevelVar  // set to the configuration's level at every reload; may be nil
	Reload  <-chan struct{} // each value reloads the configuration; may be nil
	Ready   func()          // called once the API serves; may be nil
	Alone   bool            // the process is the gateway's alone, which then fits its processors to its load

	// Attach are drivers that somebody started by hand: the path of the record that each
	// wrote, by its name. They are used instead of what is installed.
	Attach map[string]string
}

// Run runs a gateway until ctx is done, then drains the drivers, stores what they
// sent, and leaves nothing behind but the data directory and the drivers that are
// detached, which the next gateway finds. An error before it serves
// is a *RefusedError where the configuration is at fault.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Start != nil {
		o.Config = o.Start.Config
	}
	err := runOnce(ctx, o)
	var refused *RefusedError
	if o.Start == nil || ctx.Err() != nil || !errors.As(err, &refused) {
		return err
	}
	if o.Start.OfFiles() { // its drivers refuse it
		next, noneErr := configure.FallBack(o.Config.Dir, refused)
		if noneErr != nil {
			return err
		}
		o.Start, o.Config = next, next.Config
		if err = runOnce(ctx, o); !errors.As(err, &refused) {
			return err
		}
	}
	return o.Start.Refused(refused)
}

func runOnce(ctx context.Context, o Options) error {
	g, err := open(o)
	if err != nil {
		return err
	}
	return errors.Join(g.run(ctx), g.close())
}

// gateway wires one running gateway: it opens what the services stand on, gives each what
// it needs, runs what goes on beside the API, and closes all in the reverse order. What
// changes while it runs is the services' own.
type gateway struct {
	o       Options
	started time.Time

	// What the services stand on.
	inForce  *inforce.Current
	data     *datadir.Dir
	catalog  *catalog.Catalog
	spool    *spool.Spool
	choices  *choices.Book
	audit    *audit.Log
	depot    *depot.Depot
	launcher *launch.Launcher
	runDir   launch.RunDir
	drivers  *supervise.Supervisor
	samples  *samples.Service

	config  *configure.Service
	outlook *outlook.Outlook
	renewer *launch.Renewer
	tasks   tasks.Group // what runs on after its caller has returned
	serves  api.Services

	stop        context.CancelFunc // ends Run; set by it
	stopDrivers atomic.Bool        // detached ones as well
}

func open(o Options) (g *gateway, err error) {
	g = &gateway{o: o, started: time.Now()}
	g.inForce = inforce.NewCurrent(o.Config, g.started)
	if g.data, err = datadir.Open(o.Config.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	g.data.DB.LogTo(o.Log)
	for _, text := range g.data.DB.Remarks() {
		o.Log.Warn("the copy of the state was not whole", "err", errors.New(text))
	}
	if g.catalog, err = g.data.OpenCatalog(o.Log); err != nil {
		return nil, err
	}
	for _, text := range g.data.Lost {
		o.Log.Error("the state was not whole", "err", errors.New(text))
	}
	if g.spool, err = spool.Open(g.data.SpoolDir(), spool.Options{
		MaxBytes: o.Config.Spool.MaxBytes, MaxAge: o.Config.Spool.MaxAge, Log: o.Log, Names: spool.NamesID(g.catalog.ID()),
		CommitEvery: -1, // supervise commits when a message is over: a driver gathers what belongs together
	}); err != nil {
		return nil, err
	}
	// The gateway's own records are numbered by its epoch: one that came again would make
	// them look stored already.
	if stored, _ := g.spool.Mark(""); stored >= g.data.Epoch {
		if err = g.data.PassEpoch(stored); err != nil {
			return nil, err
		}
	}
	g.samples = samples.New(g.inForce, stream.Store{Spool: g.spool, Catalog: g.catalog},
		func(driverName, link string) (control.Plane, error) { return g.drivers.Control(driverName, link) })
	if g.audit, err = audit.Open(AuditDir(o.Config.DataDir)); err != nil {
		return nil, err
	}
	return g, g.openDrivers()
}

// watchedSpool is a spool in which nothing gathers while somebody watches.
type watchedSpool struct {
	*spool.Spool
	watchers func() int
}

func (s watchedSpool) Gather() {
	if s.watchers() > 0 {
		s.Commit()
	} else {
		s.Spool.Gather()
	}
}

// run serves until ctx is done.
func (g *gateway) run(ctx context.Context) error {
	ctx, g.stop = untilStopped(ctx)
	context.AfterFunc(ctx, func() { g.drivers.BeginClose(!g.stopDrivers.Load()) }) // so that nothing waits for a driver that does not answer
	defer func() {
		g.stop()
		g.tasks.End()
	}()
	g.tasks.Start(ctx)
	g.warn()
	if err := g.config.Begin(ctx, g.o.Start); err != nil {
		return err
	}
	socket, err := api.Listen(ctx, g.inForce.Get().Socket)
	if err != nil {
		return err
	}
	if err := socket.Named(); err != nil {
		g.o.Log.Warn("the API's socket has a name: a confined driver of the gateway's user is kept from it by the look at its process only", "err", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		guard := api.NewGuard(g.launcher.Known().Judge, g.o.Log)
		return api.Serve(ctx, guard.Listener(socket), guard.Handler(api.Handler(g.serves)), g.o.Log)
	})
	group.Go(func() error { return g.config.WatchFiles(ctx) })
	guard := &launch.DirGuard{Launcher: g.launcher, Kill: g.drivers.Kill, Log: g.o.Log}
	group.Go(func() error { guard.Run(ctx); return nil })
	group.Go(func() error { return g.config.TakeReloads(ctx, g.o.Reload) })
	if g.o.Alone {
		group.Go(func() error { g.adoptOrphans(ctx); return nil })
		group.Go(func() error { procs.Fit(ctx); return nil })
	}
	group.Go(func() error { g.outlook.Run(ctx); return nil })
	group.Go(func() error { return g.depot.Run(ctx) })
	group.Go(func() error { return g.takePackages(ctx) })
	g.o.Log.Info("gateway is up", "gateway", g.inForce.Get().Gateway, "socket", g.inForce.Get().Socket, "pid", os.Getpid())
	if g.o.Ready != nil {
		g.o.Ready()
	}
	err = group.Wait()
	g.o.Log.Info("gateway is stopping")
	return err
}

// adoptOrphans keeps what drivers leave behind among the gateway's children, so that the API
// knows it.
func (g *gateway) adoptOrphans(ctx context.Context) {
	if err := g.launcher.Known().Adopt(ctx); err != nil {
		g.o.Log.Warn("what an unconfined driver leaves behind is not known to the API", "err", err)
	}
}

// errStopping is why what goes on in a gateway ends.
var errStopping = errors.New("the gateway is stopping")

// untilStopped is a context that ends with parent, or by stop, and says why.
func untilStopped(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	follow := context.AfterFunc(parent, func() { cancel(errStopping) })
	return ctx, func() {
		follow()
		cancel(errStopping)
	}
}

// close ends everything that open began, in the reverse order.
func (g *gateway) close() error {
	var errs []error
	if g.drivers != nil {
		endDrivers(func() { g.drivers.Close(!g.stopDrivers.Load()) }, g.spool, g.o.Log)
	}
	if g.samples != nil {
		g.samples.Close()
	}
	if g.spool != nil {
		errs = append(errs, g.spool.Close())
	}
	if g.runDir.Path != "" {
		_ = os.Remove(g.runDir.Path) // where it is empty: detached drivers live in it
	}
	if g.audit != nil {
		errs = append(errs, g.audit.Close())
	}
	if g.data != nil {
		errs = append(errs, g.data.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the gateway: %w", err)
	}
	return nil
}

// Health implements api.Gateway.
func (g *gateway) Health() client.Health {
	return client.Health{Gateway: g.inForce.Get().Gateway, Version: g.o.Version, PID: os.Getpid(), Since: g.started}
}

// Stop implements api.Gateway.
func (g *gateway) Stop(drivers bool) {
	g.stopDrivers.Store(drivers)
	g.o.Log.Info("stopped by the operator", "drivers", drivers)
	g.stop()
}
