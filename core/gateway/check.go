package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/state"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/pack"
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

// Checked is what Check has seen.
type Checked struct {
	Config  *config.Config
	Drivers []control.Description // those that the configuration uses
	// Warnings are what is likely to be wrong: files that are not read, what is not there on
	// this machine, limits that will be reached. They are there with an error, too.
	Warnings []string
}

// Check loads the configuration in dir, starts the drivers that it uses, lets them
// validate it, and stops them. It connects to nothing and touches no data. An
// error is a *ConfigError that lists everything found; what was checked is told beside it.
func Check(ctx context.Context, dir string, log *slog.Logger) (*Checked, error) {
	c, err := config.LoadAll(dir)
	var wrong []error
	if err != nil {
		wrong = configError(err).Faults
	}
	if c.Gateway == "" { // fieldloom.yaml cannot be read, and says where all else is
		return new(Checked), &ConfigError{Faults: wrong}
	}
	packages, err := openDepot(func() *config.Config { return c }, nil, chosenVersions(ctx, c), log)
	if err != nil {
		return nil, err
	}
	defer markTrying(log)()
	l := &launcher{depot: packages, configs: func() []*config.Config { return []*config.Config{c} }, fleet: new(fleet),
		services: func(string) host.Services { return nil }, logs: newDriverLogs(log, func(string) slog.Level { return slog.LevelError })}
	drivers := supervise.New(supervise.Options{Log: log, Launch: l.launch, Image: l.image})
	defer drivers.Close(false)
	v := &vetting{config: c, drivers: drivers, packages: packages, start: launchLimit, secrets: true, faults: wrong}
	unready, err := v.vet(ctx)
	checked := &Checked{Config: c}
	var several *ConfigError
	switch {
	case errors.As(err, &several):
		wrong = several.Faults
	case err != nil:
		return nil, err
	default:
		wrong = append(wrong, sorted(unready)...)
	}
	wrong = append(wrong, checked.look(v, time.Now(), len(wrong) > 0)...)
	if len(wrong) > 0 {
		return checked, &ConfigError{Faults: wrong}
	}
	for _, kind := range c.Drivers() {
		if p := v.running[kind]; p != nil {
			d := p.Description()
			if of, err := packages.Image(kind); err == nil && !of.Unsigned {
				d.Version = of.Version // as everywhere: what the executable calls itself may differ
			}
			checked.Drivers = append(checked.Drivers, d)
		}
	}
	return checked, nil
}

// look gathers warnings, and what a gateway takes and nobody means. Of a configuration in
// which something is wrong not all links are there.
func (c *Checked) look(v *vetting, now time.Time, isWrong bool) (wrong []error) {
	m := &machine{config: c.Config, now: now, wants: func(kind string) *pack.Wants {
		of, err := v.packages.Image(kind)
		if err != nil {
			return nil
		}
		return &of.Manifest.Wants
	}}
	m.look()
	for _, w := range c.Config.Warnings() {
		c.Warnings = append(c.Warnings, w.Error())
	}
	c.Warnings = slices.Concat(c.Warnings, v.packageWarnings(), m.warnings, limitWarnings(c.Config, fileLimit(), wantedMemory(v.packages)))
	if len(c.Config.Links) == 0 && !isWrong {
		text := fmt.Sprintf("there is no link, and nothing to poll: write `links:` into %s", filepath.Join(c.Config.Dir, "links", "NAME.yaml"))
		m.faults = append(m.faults, &config.Error{File: filepath.Join(c.Config.Dir, "fieldloom.yaml"), Text: text})
	}
	return m.faults
}

// packageWarnings compares what packages say of their drivers with what those say
// themselves.
func (v *vetting) packageWarnings() (list []string) {
	for _, kind := range v.config.Drivers() {
		of, err := v.packages.Image(kind)
		p := v.running[kind]
		if err != nil || p == nil || of.Unsigned {
			continue
		}
		said := p.Description()
		for _, text := range of.Manifest.Differences(said.Name, said.Version, pack.Schemas{Link: said.LinkSchema, Device: said.DeviceSchema, Address: said.AddressSchema}) {
			list = append(list, fmt.Sprintf("driver %s: %s: pack it again", kind, text))
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

// vetting checks a configuration and gathers what the drivers say.
type vetting struct {
	config   *config.Config
	drivers  *supervise.Supervisor
	packages *depot.Depot
	start    time.Duration          // how long a driver may take to start
	known    func(kind string) bool // a driver that need not be there; nil: none
	attached map[string]string      // drivers that were started by hand
	secrets  bool                   // one that cannot be had is a fault; else it stops the links that name it

	mu        sync.Mutex
	running   map[string]supervise.Process
	described map[string]control.Description
	unready   map[string]error
	faults    []error
}

// vet checks the configuration against its drivers' schemas, then lets each driver
// validate its part. It starts the drivers that do not run. What does not start, or
// does not answer, is in unready, by its kind: its part is not checked.
func (v *vetting) vet(ctx context.Context) (unready map[string]error, err error) {
	ctx, cancel := context.WithTimeout(ctx, vetLimit+time.Duration(len(v.config.Links))*vetLinkLimit)
	defer cancel()
	v.running, v.described, v.unready = make(map[string]supervise.Process), make(map[string]control.Description), make(map[string]error)
	if v.secrets {
		v.faults = append(v.faults, checkSecrets(v.config)...)
	}
	v.each(func(kind string) { v.describe(ctx, kind) })
	if err := v.config.Check(v.described, v.installed()...); err != nil {
		v.faults = append(v.faults, configError(err).Faults...)
	}
	drafts := draft(v.config) // after Check, which completes the settings
	v.each(func(kind string) { v.validate(ctx, kind, drafts[kind]) })
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("check the configuration: %w", cause)
	}
	if len(v.faults) > 0 {
		return nil, &ConfigError{Faults: append(v.faults, sorted(v.unready)...)}
	}
	return v.unready, nil
}

// sorted is the errors in the order of their kinds.
func sorted(byKind map[string]error) []error {
	var list []error
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		list = append(list, byKind[kind])
	}
	return list
}

// each calls f for all drivers of the configuration at the same time.
func (v *vetting) each(f func(kind string)) {
	var wg sync.WaitGroup
	for _, kind := range v.config.Drivers() {
		wg.Go(func() { f(kind) })
	}
	wg.Wait()
}

// describe starts one driver. One that is not installed is left out, which Check
// reports with its position; one that does not start takes anything.
func (v *vetting) describe(ctx context.Context, kind string) {
	anything := json.RawMessage("{}")
	unknown := control.Description{Info: driver.Info{Name: kind, LinkSchema: anything, DeviceSchema: anything}}
	if err := v.find(kind); err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if errors.Is(err, depot.ErrNotThere) && (v.known == nil || !v.known(kind)) {
			return
		}
		v.described[kind], v.unready[kind] = unknown, err
		return
	}
	ctx, cancel := context.WithTimeout(ctx, v.start)
	defer cancel()
	p, err := v.drivers.Prepare(ctx, kind)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.described[kind], v.unready[kind] = unknown, err
		return
	}
	v.running[kind], v.described[kind] = p, p.Description()
}

// installed returns the names of the drivers whose packages are there.
func (v *vetting) installed() (names []string) {
	for _, e := range v.packages.List() {
		names = append(names, e.Driver)
	}
	return names
}

// find tells why there is nothing to start.
func (v *vetting) find(kind string) error {
	if v.attached[kind] != "" {
		return nil
	}
	_, err := v.packages.Image(kind)
	if _, down := v.drivers.Control(kind, ""); down == nil {
		return nil // what runs can be asked, whatever has become of its package
	}
	return err
}

// validate asks one driver that runs.
func (v *vetting) validate(ctx context.Context, kind string, state *control.State) {
	p := v.running[kind]
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit+time.Duration(len(state.Links))*vetLinkLimit)
	defer cancel()
	found, err := p.Validate(ctx, state)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.unready[kind] = fmt.Errorf("driver %s: validate its links: %w", kind, err)
	}
	for _, f := range found {
		if located := v.config.Locate(kind, f); !v.isKnown(located, f) {
			v.faults = append(v.faults, located)
		}
	}
}

// isKnown tells whether a fault at the same place was found before: a schema and its
// driver say the same in two ways. Of settings as a whole a fault of one of their keys
// says enough: a driver does not decode what the schema refuses.
func (v *vetting) isKnown(e *config.Error, f control.ConfigFault) bool {
	whole := f.Key == "" && f.Point == ""
	for _, fault := range v.faults {
		var other *config.Error
		if !errors.As(fault, &other) || other.File != e.File {
			continue
		}
		if other.Line == e.Line && other.Column == e.Column && (e.Line > 0 || other.Text == e.Text) {
			return true
		}
		if f.Point != "" && within(other.Path, strings.TrimSuffix(e.Path, "."+f.Key)) {
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
