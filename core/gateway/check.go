package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// vetLimit bounds the start of a driver and each of its answers.
const vetLimit = 30 * time.Second

// Checked is what Check has seen.
type Checked struct {
	Config  *config.Config
	Drivers []engine.Description // those that the configuration uses
}

// Check loads the configuration in dir, starts the drivers that it uses, lets them
// validate it, and stops them. It connects to nothing and touches no data. An
// error is a *ConfigError that lists everything found.
func Check(ctx context.Context, dir string, log *slog.Logger) (*Checked, error) {
	c, err := config.Load(dir)
	if err != nil {
		return nil, configError(err)
	}
	drivers := supervise.New(supervise.Options{Log: log, Launch: supervise.Exec{
		Dir: func() string { return c.DriversDir }, Env: DriverEnv(), Log: log,
		Services: func(string) plugin.Services { return nil },
	}.Launch})
	defer drivers.Close()
	unready, err := vet(ctx, c, drivers)
	if err != nil {
		return nil, err
	}
	if len(unready) > 0 {
		return nil, &ConfigError{Faults: unready}
	}
	checked := &Checked{Config: c}
	for _, kind := range c.Drivers() {
		if p, err := drivers.Prepare(ctx, kind); err == nil {
			checked.Drivers = append(checked.Drivers, p.Description())
		}
	}
	return checked, nil
}

// vet checks c against its drivers' schemas and lets each driver validate its part.
// It starts the drivers that do not run. What does not start, or does not answer,
// is in unready: its part is not checked.
func vet(ctx context.Context, c *config.Config, drivers *supervise.Supervisor) (unready []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, vetLimit)
	defer cancel()
	kinds := c.Drivers()
	v := &vetting{config: c, drivers: drivers, drafts: draft(c), described: make(map[string]engine.Description)}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		wg.Go(func() { v.driver(ctx, kind) })
	}
	wg.Wait()
	if ctx.Err() != nil && len(v.described) == 0 {
		return nil, ctx.Err()
	}
	var faults []error
	if err := c.Check(v.described); err != nil {
		faults = configError(err).Faults
	}
	if faults = append(faults, v.faults...); len(faults) > 0 {
		return nil, &ConfigError{Faults: distinct(append(faults, v.unready...))}
	}
	return v.unready, nil
}

// vetting gathers what the drivers say.
type vetting struct {
	config  *config.Config
	drivers *supervise.Supervisor
	drafts  map[string]*engine.State

	mu        sync.Mutex
	described map[string]engine.Description
	unready   []error
	faults    []error
}

// driver asks one driver.
func (v *vetting) driver(ctx context.Context, kind string) {
	p, err := v.drivers.Prepare(ctx, kind)
	if err != nil {
		v.add(func() { v.unready = append(v.unready, err) })
		return
	}
	v.add(func() { v.described[kind] = p.Description() })
	found, err := p.Validate(ctx, v.drafts[kind])
	if err != nil {
		v.add(func() { v.unready = append(v.unready, fmt.Errorf("driver %s: validate its links: %w", kind, err)) })
		return
	}
	v.add(func() {
		for _, f := range found {
			v.faults = append(v.faults, v.config.Locate(kind, f))
		}
	})
}

func (v *vetting) add(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

// distinct leaves out what a schema and a driver both found, word for word.
func distinct(faults []error) []error {
	seen := make(map[string]bool)
	kept := faults[:0]
	for _, f := range faults {
		if text := f.Error(); !seen[text] {
			seen[text] = true
			kept = append(kept, f)
		}
	}
	return kept
}

// draft makes states without handles, one a driver, which is all that Validate needs.
func draft(c *config.Config) map[string]*engine.State {
	states := make(map[string]*engine.State)
	for _, l := range c.Links {
		s := states[l.Driver]
		if s == nil {
			s = new(engine.State)
			states[l.Driver] = s
		}
		link := engine.Link{Name: l.Name, Settings: l.Settings, Timeout: l.Timeout, Gap: l.Gap, Classes: l.Classes}
		for _, d := range l.Devices {
			link.Devices = append(link.Devices, engine.Device{Name: d.Name, Settings: d.Settings, Table: d.Table})
		}
		s.Links = append(s.Links, link)
	}
	return states
}
