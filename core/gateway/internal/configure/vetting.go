package configure

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/gateway/internal/secrets"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

const (
	// vetLimit bounds the check of a configuration, launchLimit the start of a driver in it,
	// and answerLimit its answer: one that hangs must not hold up the check of the others. The
	// first and the last have vetLinkLimit more for each link.
	vetLimit     = 30 * time.Second
	launchLimit  = 12 * time.Second
	answerLimit  = 10 * time.Second
	vetLinkLimit = 20 * time.Millisecond
	// firstStart is how long the gateway's own start waits for its drivers, all together:
	// one that hangs must not hold up the others. It is supervised all the same.
	firstStart = 2 * time.Second
)

// A Vetting checks a configuration and gathers what the drivers say.
type Vetting struct {
	Config   *config.Config
	Drivers  *supervise.Supervisor
	Packages *depot.Depot
	Start    time.Duration                // how long a driver may take to start; 0: launchLimit
	Known    func(driverName string) bool // a driver that need not be there; nil: none
	Attached map[string]string            // drivers that were started by hand
	Secrets  bool                         // one that cannot be had is a fault; else it stops the links that name it
	Faults   []error                      // what is known to be wrong already
	Before   *config.Config               // of its links no fault is what a driver may not reach; nil: none

	mu        sync.Mutex // guards what follows, and Faults, while drivers are asked
	running   map[string]supervise.Process
	described map[string]control.Description
	unready   map[string]error
	doubts    config.Errors
}

// Vet checks the configuration against its drivers' schemas, then lets each driver
// validate its part. It starts the drivers that do not run. What does not start, or
// does not answer, is in unready, by its name: its part is not checked.
func (v *Vetting) Vet(ctx context.Context) (unready map[string]error, err error) {
	ctx, cancel := context.WithTimeout(ctx, vetLimit+time.Duration(len(v.Config.Links))*vetLinkLimit)
	defer cancel()
	v.running, v.described, v.unready = make(map[string]supervise.Process), make(map[string]control.Description), make(map[string]error)
	if v.Secrets {
		v.Faults = append(v.Faults, secrets.Check(v.Config)...)
	}
	v.each(func(driverName string) { v.describe(ctx, driverName) })
	if err := v.Config.Check(v.described, v.installed()...); err != nil {
		v.Faults = append(v.Faults, RefusedBy(err).Causes...)
	}
	drafts := draft(v.Config) // after Check, which completes the settings
	v.each(func(driverName string) { v.validate(ctx, driverName, drafts[driverName]) })
	v.checkReach()
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("check the configuration: %w", cause)
	}
	if len(v.Faults) > 0 {
		return nil, &RefusedError{Causes: append(v.Faults, Sorted(v.unready)...)}
	}
	return v.unready, nil
}

// Running returns the process of a driver that was asked; nil: it did not start.
func (v *Vetting) Running(driverName string) supervise.Process { return v.running[driverName] }

// Sorted is the errors in the order of their drivers.
func Sorted(byKind map[string]error) []error {
	var list []error
	for _, driverName := range slices.Sorted(maps.Keys(byKind)) {
		list = append(list, byKind[driverName])
	}
	return list
}

// each calls f for all drivers of the configuration at the same time.
func (v *Vetting) each(f func(driverName string)) {
	var wg sync.WaitGroup
	for _, driverName := range v.Config.Drivers() {
		wg.Go(func() { f(driverName) })
	}
	wg.Wait()
}

// describe starts one driver. One that is not installed is left out, which Check
// reports with its position; one that does not start takes anything.
func (v *Vetting) describe(ctx context.Context, driverName string) {
	anything := json.RawMessage("{}")
	unknown := control.Description{Info: driver.Info{Name: driverName, LinkSchema: anything, DeviceSchema: anything}}
	if err := v.find(driverName); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if errors.Is(err, depot.ErrNotThere) && (v.Known == nil || !v.Known(driverName)) {
			return
		}
		v.described[driverName], v.unready[driverName] = unknown, err
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(v.Start, launchLimit))
	defer cancel()
	p, err := v.Drivers.Prepare(ctx, driverName)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.described[driverName], v.unready[driverName] = unknown, err
		return
	}
	v.running[driverName], v.described[driverName] = p, p.Description()
}

// installed returns the names of the drivers whose packages are there.
func (v *Vetting) installed() (names []string) {
	for _, e := range v.Packages.List() {
		names = append(names, e.Driver)
	}
	return names
}

// find returns why there is nothing to start.
func (v *Vetting) find(driverName string) error {
	if v.Attached[driverName] != "" {
		return nil
	}
	_, err := v.Packages.Image(driverName)
	if _, down := v.Drivers.Control(driverName, ""); down == nil {
		return nil // what runs can be asked, whatever has become of its package
	}
	return err
}

// validate asks one driver that runs.
func (v *Vetting) validate(ctx context.Context, driverName string, state *control.State) {
	p := v.running[driverName]
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit+time.Duration(len(state.Links))*vetLinkLimit)
	defer cancel()
	found, err := p.Validate(ctx, state)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.unready[driverName] = fmt.Errorf("driver %s: validate its links: %w", driverName, err)
	}
	for _, f := range found {
		if located := v.Config.Locate(driverName, f); !v.isKnown(located) {
			v.Faults = append(v.Faults, located)
		}
	}
}

// checkReach finds what links name and their drivers may not reach, by their packages.
func (v *Vetting) checkReach() {
	for _, driverName := range v.Config.Drivers() {
		of, err := v.Packages.Image(driverName)
		if err != nil || v.Attached[driverName] != "" {
			continue
		}
		found := reach.Check(v.Config, driverName, of.Manifest, v.Before)
		for _, fault := range found.Faults {
			if !v.isKnown(fault) {
				v.Faults = append(v.Faults, fault)
			}
		}
		v.doubts = append(v.doubts, found.Doubts...)
	}
}

// Doubts are what drivers may not be able to reach, after Vet: their packages do not say.
func (v *Vetting) Doubts() config.Errors { return v.doubts }

// isKnown reports whether a fault at the same place was found before: a schema and its
// driver say the same in two ways. Of settings as a whole a fault of one of their keys
// says enough: a driver does not decode what the schema refuses.
func (v *Vetting) isKnown(e *driver.ConfigError) bool {
	whole := e.Key == "" && e.Point == ""
	for _, fault := range v.Faults {
		var other *driver.ConfigError
		if !errors.As(fault, &other) || other.File != e.File {
			continue
		}
		if other.Line == e.Line && other.Column == e.Column && (e.Line > 0 || other.Text == e.Text) {
			return true
		}
		if e.Point != "" && within(other.Path, strings.TrimSuffix(e.Path, "."+e.Key)) {
			return true // what the driver was given of this point is not what is written
		}
		if i := strings.LastIndexByte(other.Path, '.'); whole && i > 0 && e.Path != "" && other.Path[:i] == e.Path {
			return true
		}
	}
	return false
}

// within reports whether path is that of what lies at or below another.
func within(path, above string) bool {
	return path == above || strings.HasPrefix(path, above+".")
}

// draft makes states, one a driver, for Validate: their handles are not the
// catalog's, which numbers only what is put in force.
func draft(c *config.Config) map[string]*control.State {
	states := make(map[string]*control.State)
	handles := make(map[string]uint32) // the next, by driver
	for _, l := range c.Links {
		s := states[l.Driver]
		if s == nil {
			s = new(control.State)
			states[l.Driver], handles[l.Driver] = s, 1
		}
		link := control.Link{Name: l.Name, Settings: l.Settings, Timeout: l.Timeout, Gap: l.Gap, Classes: l.Classes}
		for _, d := range l.Devices {
			link.Devices = append(link.Devices, control.Device{Name: d.Name, Settings: d.Settings, Table: d.Table, FirstHandle: handles[l.Driver]})
			handles[l.Driver] += uint32(len(d.Table.Points))
		}
		s.Links = append(s.Links, link)
	}
	return states
}
