package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
	"github.com/fieldloom/fieldloom/core/gateway/internal/machine"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/state"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/pack"
)

// Checked is what Check has seen.
type Checked struct {
	Config  *config.Config
	Drivers []control.Description // those that the configuration uses
	// Warnings are what is likely to be wrong: files that are not read, what is not there on
	// this machine, limits that will be reached. They are there with an error, too.
	Warnings []string
}

// Check loads the configuration in dir, starts the drivers that it uses, lets them validate it,
// and stops them. It connects to nothing and touches no data. An error is a *RefusedError that
// lists everything found, and comes with what was checked.
func Check(ctx context.Context, dir string, log *slog.Logger) (*Checked, error) {
	c, err := config.LoadAll(dir)
	var wrong []error
	if err != nil {
		wrong = configure.RefusedBy(err).Causes
	}
	if c.Gateway == "" { // fieldloom.yaml cannot be read, and says where all else is
		return new(Checked), &configure.RefusedError{Causes: wrong}
	}
	packages, err := openDepot(func() *config.Config { return c }, nil, chosenVersions(ctx, c), log)
	if err != nil {
		return nil, err
	}
	defer markTrying(log)()
	l := launch.New(launch.Options{Depot: packages, Configs: func() []*config.Config { return []*config.Config{c} },
		Services: func(string) host.Services { return nil }, Level: func(string) slog.Level { return slog.LevelError }, Log: log})
	drivers := supervise.New(supervise.Options{Log: log, Launch: l.Launch, Image: l.Image})
	defer drivers.Close(false)
	v := &configure.Vetting{Config: c, Drivers: drivers, Packages: packages, Secrets: true, Faults: wrong}
	unready, err := v.Vet(ctx)
	checked := &Checked{Config: c}
	var several *configure.RefusedError
	switch {
	case errors.As(err, &several):
		wrong = several.Causes
	case err != nil:
		return nil, err
	default:
		wrong = append(wrong, configure.Sorted(unready)...)
	}
	wrong = append(wrong, checked.look(v, time.Now(), len(wrong) > 0)...)
	if len(wrong) > 0 {
		return checked, &configure.RefusedError{Causes: wrong}
	}
	for _, driverName := range c.Drivers() {
		if p := v.Running(driverName); p != nil {
			d := p.Description()
			if of, err := packages.Image(driverName); err == nil && !of.Unsigned {
				d.Version = of.Version // as everywhere: what the executable calls itself may differ
			}
			checked.Drivers = append(checked.Drivers, d)
		}
	}
	return checked, nil
}

// look gathers warnings, and what a gateway takes and nobody means. Of a configuration in
// which something is wrong not all links are there.
func (c *Checked) look(v *configure.Vetting, now time.Time, isWrong bool) (wrong []error) {
	wrong, warnings := machine.Look(c.Config, func(driverName string) *pack.Manifest {
		of, err := v.Packages.Image(driverName)
		if err != nil {
			return nil
		}
		return of.Manifest
	}, now)
	for _, w := range slices.Concat(c.Config.Warnings(), v.Doubts()) {
		c.Warnings = append(c.Warnings, w.Error())
	}
	c.Warnings = slices.Concat(c.Warnings, packageWarnings(v), warnings, launch.LimitWarnings(c.Config, v.Packages))
	if len(c.Config.Links) == 0 && !isWrong {
		text := fmt.Sprintf("there is no link, and nothing to poll: write `links:` into %s", filepath.Join(c.Config.Dir, config.LinksDir, "NAME.yaml"))
		wrong = append(wrong, &driver.ConfigError{Text: text, Place: driver.Place{File: filepath.Join(c.Config.Dir, config.MainFile)}})
	}
	return wrong
}

// packageWarnings compares what packages say of their drivers with what those say
// themselves.
func packageWarnings(v *configure.Vetting) (list []string) {
	for _, driverName := range v.Config.Drivers() {
		of, err := v.Packages.Image(driverName)
		p := v.Running(driverName)
		if err != nil || p == nil || of.Unsigned {
			continue
		}
		said := p.Description()
		for _, text := range of.Manifest.Differences(said.Name, said.Version, pack.Schemas{Link: said.LinkSchema, Device: said.DeviceSchema, Address: said.AddressSchema}) {
			list = append(list, fmt.Sprintf("driver %s: %s: pack it again", driverName, text))
		}
	}
	return list
}

// askLimit is how long a running gateway may take to tell its versions.
const askLimit = 2 * time.Second

// chosenVersions is the version of each driver that c's gateway runs: it tells them, or
// the database of one that does not run does. Of what nobody can tell the newest is
// checked.
func chosenVersions(ctx context.Context, c *config.Config) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	running := client.New(c.Socket)
	defer running.Close()
	if list, err := running.Packages(ctx); err == nil {
		versions := make(map[string]string)
		for i := range list {
			if list[i].Active && !list[i].Unsigned {
				versions[list[i].Driver] = list[i].Version
			}
		}
		return versions
	}
	db, err := state.ReadOnly(filepath.Join(c.DataDir, datadir.StateFile))
	if err != nil {
		return nil
	}
	defer func() { _ = db.Close() }()
	versions, err := depot.Chosen(db)
	if err != nil {
		return nil
	}
	return versions
}
