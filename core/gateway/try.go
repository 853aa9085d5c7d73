package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
	"github.com/fieldloom/fieldloom/core/gateway/internal/samples"
	"github.com/fieldloom/fieldloom/core/gateway/internal/secrets"
	"github.com/fieldloom/fieldloom/core/internal/caller"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/state"
	"github.com/fieldloom/fieldloom/core/internal/stream"
)

// TryOptions say how Try runs a driver.
type TryOptions struct {
	Path   string   // of the executable: a driver, or what starts one
	Args   []string // without the executable's name
	Config string   // a file with links, or a configuration's directory
	Level  slog.Level
	Log    *slog.Logger // nil: silent

	Stdin, Stdout, Stderr *os.File // the driver's

	// Sample and Event are called by one goroutine with what the driver sends. What they
	// return ends the trial.
	Sample func(*client.Sample) error
	Event  func(control.Event)
}

// endLimit is how long a driver that was tried may take to end.
const endLimit = 10 * time.Second

// Try runs a driver in the foreground with the links of a file, until ctx is done or it
// ends. It is not verified, not confined and not restarted, and nothing is stored. An
// error is a *RefusedError where the file is at fault.
func Try(ctx context.Context, o TryOptions) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := loadTrial(o.Config)
	if err != nil {
		return err
	}
	driverName, err := triedDriver(c, o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fieldloom-try-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := state.Open(filepath.Join(dir, datadir.StateFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	points, err := catalog.Open(db)
	if err != nil {
		return err
	}
	defer markTrying(o.Log)()
	t, err := host.Try(ctx, host.TryOptions{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Command: host.Command{
		Path: o.Path, Args: o.Args, Name: driverName, Log: o.Log, Services: &launch.Services{DB: db, InForce: inforce.NewCurrent(c, time.Now()), Driver: driverName}, Level: o.Level}})
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
		defer cancel()
		err = errors.Join(err, t.End(ending))
	}()
	tried := &trial{o: o, config: c, name: driverName, points: points, driver: t}
	return tried.run(ctx)
}

// markTrying has the gateways of this machine know that what this process starts are drivers,
// until over is called.
func markTrying(log *slog.Logger) (over func()) {
	over, err := caller.Try()
	if err != nil {
		log.Warn("a gateway on this machine takes these drivers for a person's processes", "err", err)
		return func() {}
	}
	return over
}

// loadTrial reads a file with links, or a whole configuration.
func loadTrial(path string) (*config.Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &RefusedError{Causes: []error{err}}
	}
	if info.IsDir() {
		c, err := config.Load(path)
		if err != nil {
			return nil, configure.RefusedBy(err)
		}
		return c, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &RefusedError{Causes: []error{err}}
	}
	c, err := config.ParseFile(path, text)
	if err != nil {
		return nil, configure.RefusedBy(err)
	}
	if !filepath.IsAbs(c.SecretsDir) {
		c.SecretsDir = filepath.Join(filepath.Dir(path), c.SecretsDir)
	}
	return c, nil
}

// wrongFile is a fault of a file as a whole.
func wrongFile(path, format string, args ...any) *driver.ConfigError {
	return &driver.ConfigError{Text: fmt.Sprintf(format, args...), Place: driver.Place{File: path}}
}

// triedDriver is the driver that is tried: the only one that the file uses, or the one
// that the executable is named after. Only its links are kept.
func triedDriver(c *config.Config, o TryOptions) (string, error) {
	drivers := c.Drivers()
	driverName := ""
	for _, k := range drivers {
		if len(drivers) == 1 || strings.HasPrefix(filepath.Base(o.Path), "driver-"+k) {
			driverName = k
		}
	}
	if driverName == "" {
		return "", &RefusedError{Causes: []error{wrongFile(o.Config,
			"has links of %d drivers, and %s is not named driver-NAME after one of them: leave one driver's links", len(drivers), filepath.Base(o.Path))}}
	}
	c.Links = slices.DeleteFunc(c.Links, func(l *config.Link) bool { return l.Driver != driverName })
	return driverName, nil
}

// trial is one driver that runs with its links, and nothing else of a gateway.
type trial struct {
	o      TryOptions
	config *config.Config // with its links alone
	name   string         // of the driver
	points *catalog.Catalog
	driver *host.Trial
}

// run gives the driver its links and passes on what it sends.
func (t *trial) run(ctx context.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := t.apply(ctx); err != nil {
		return err
	}
	h := &trialHandler{o: t.o, decoder: stream.NewDecoder(t.points, nil), broken: make(chan error, 1)}
	a, err := t.driver.Attach(ctx, host.Hello{CoreEpoch: 1}, h)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	h.acknowledge(a)
	select {
	case <-ctx.Done():
		return nil
	case <-t.driver.Ended():
		return errors.New("the driver ended by itself")
	case <-a.Done():
		return a.Err()
	case err := <-h.broken:
		return err
	}
}

// check checks the links against what the driver says of itself.
func (t *trial) check() error {
	described := t.driver.Description()
	if described.Name != t.name {
		return &RefusedError{Causes: []error{wrongFile(t.o.Config,
			"has links of driver %s, and %s says that it is driver %s: name a file with its links", t.name, t.o.Path, described.Name)}}
	}
	if err := t.config.Check(map[string]control.Description{t.name: described}); err != nil {
		return configure.RefusedBy(err)
	}
	if faults := secrets.Check(t.config); faults != nil {
		return &RefusedError{Causes: faults}
	}
	return nil
}

// apply gives the driver its links.
func (t *trial) apply(ctx context.Context) error {
	states, err := t.points.States(t.config, 1)
	if err != nil {
		return err
	}
	found, err := t.driver.Apply(ctx, states[t.name], control.ApplyOptions{})
	if err != nil || len(found) == 0 {
		return err
	}
	wrong := new(RefusedError)
	for _, f := range found {
		wrong.Causes = append(wrong.Causes, t.config.Locate(t.name, f))
	}
	return wrong
}

// trialHandler passes on what a driver sends, and acknowledges it.
type trialHandler struct {
	o       TryOptions
	decoder *stream.Decoder
	sender  samples.Sender
	broken  chan error

	mu   sync.Mutex
	acks *host.Attachment
	last uint64
	over atomic.Bool
}

// acknowledge begins to acknowledge: the attachment is known only after the first
// frames may have come.
func (h *trialHandler) acknowledge(a *host.Attachment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = a
	if h.last > 0 {
		a.Ack(h.last)
	}
}

// Frame implements host.Handler.
func (h *trialHandler) Frame(sequence uint64, frame []byte) {
	if h.over.Load() {
		return
	}
	if err := h.sender.Send(h.decoder.Frame(frame), samples.Call(h.o.Sample)); err != nil {
		h.over.Store(true)
		h.broken <- err
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = sequence
	if h.acks != nil {
		h.acks.Ack(sequence)
	}
}

// Event implements host.Handler.
func (h *trialHandler) Event(e control.Event) {
	if h.o.Event != nil {
		h.o.Event(e)
	}
}

// Heartbeat implements host.Handler.
func (h *trialHandler) Heartbeat(uint64) {}
