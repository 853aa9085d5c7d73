package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A ConfigError says that a configuration cannot be put in force. It lists every
// fault, with its position where it has one.
type ConfigError struct{ Faults []error }

func (e *ConfigError) Error() string { return errors.Join(e.Faults...).Error() }

// Unwrap returns the faults.
func (e *ConfigError) Unwrap() []error { return e.Faults }

// Lines is Error, one line a fault.
func (e *ConfigError) Lines() []string {
	lines := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		lines[i] = fault.Error()
	}
	return lines
}

// configError returns err, which config.Load or Check answered, as a *ConfigError.
func configError(err error) *ConfigError {
	var whole *ConfigError
	if errors.As(err, &whole) {
		return whole
	}
	var several config.Errors
	if errors.As(err, &several) {
		return &ConfigError{Faults: several.Unwrap()}
	}
	return &ConfigError{Faults: []error{err}}
}

// refusal is why a newer configuration is not in force.
type refusal struct {
	at    time.Time
	lines []string
}

// start puts the first configuration in force. A driver that does not start does
// not hold up the others: the supervisor tries it again, and the API says so.
func (g *gateway) start(ctx context.Context) error {
	next := g.inForce.Get().Config
	first := g.o.Start
	if first == nil {
		first = &Start{Config: next}
	}
	defer g.inForce.Vet(nil)
	unready, err := g.vetDraft(ctx, first.draft, lastGoodConfig(next.Dir), &next, func(v *vetting) {
		v.start, v.known = firstStart, func(string) bool { return true } // one that is missing now may come
	})
	if err != nil {
		return err
	}
	for _, fault := range sorted(unready) {
		g.o.Log.Error("configuration is not checked by its driver", "err", fault)
	}
	if first.why != nil {
		g.refusal.Store(&refusal{at: g.started, lines: first.why.Lines()})
		g.o.Log.Error("configuration refused, the last good one is in force", "saved", first.good.Saved, "copy", first.good.Path, "err", first.why)
	}
	_, err = g.adopt(next, unready)
	if err != nil {
		return err
	}
	g.keep(first.draft, first.good)
	g.warnSecrets()
	return nil
}

// vetDraft lets the drivers check a configuration. Link files with what they refuse are set
// aside, and the configuration is then another one; no link of old may go with that. draft
// and old may be nil.
func (g *gateway) vetDraft(ctx context.Context, draft *config.Draft, old *config.Config, c **config.Config, change func(*vetting)) (unready map[string]error, err error) {
	for {
		if *c != g.inForce.Get().Config {
			g.inForce.Vet(*c)
		}
		v := g.vetting(*c)
		change(v)
		unready, err = v.vet(ctx)
		var refused *ConfigError
		if err == nil || draft == nil || !errors.As(err, &refused) || !draft.SetAside(refused.located()) {
			return unready, err
		}
		next, loadErr := draft.Load()
		if loadErr != nil {
			return nil, err // with the places where it began
		}
		*c = next
		if gone := vanished(draft, old, next); gone != nil {
			return nil, gone
		}
	}
}

// located are the faults that have a place in a file.
func (e *ConfigError) located() (list config.Errors) {
	for _, fault := range e.Faults {
		var at *config.Error
		if errors.As(fault, &at) {
			list = append(list, at)
		}
	}
	return list
}

// keep notes what of the files is not in force, and keeps a copy of what is.
func (g *gateway) keep(draft *config.Draft, good *GoodConfig) {
	a := *g.inForce.Get()
	a.Aside, a.Wrong, a.Good = nil, nil, time.Time{}
	if good != nil {
		a.Good = good.Saved
	}
	if draft != nil {
		a.Aside = asideOf(draft)
		for _, fault := range draft.Faults() {
			a.Wrong = append(a.Wrong, fault.Error())
		}
		if err := saveGood(a.DataDir, a.Dir, draft.Files(), time.Now()); err != nil {
			g.o.Log.Warn("keep a copy of the configuration: after a restart an error in the files would stop everything", "err", err)
		}
	}
	for _, text := range a.Aside {
		g.o.Log.Error("link file is wrong", "file", text, "err", strings.Join(a.Wrong, "; "))
	}
	g.inForce.Set(&a)
}

// vetting checks c, of which only what is new must have its driver there.
func (g *gateway) vetting(c *config.Config) *vetting {
	states := g.inForce.Get().States
	return &vetting{config: c, drivers: g.drivers, packages: g.depot, start: launchLimit, attached: g.o.Attach,
		known: func(kind string) bool { return states[kind] != nil }}
}

// reload loads the configuration and puts it in force, or leaves the old one in
// force wholly.
func (g *gateway) reload(ctx context.Context) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	draft := config.ReadDraft(g.inForce.Get().Dir, keptOf(g.inForce.Get().Dir))
	changed, err := g.tryReload(ctx, draft)
	if err != nil {
		refused := configError(err)
		g.refusal.Store(&refusal{at: time.Now(), lines: refused.Lines()})
		g.setDrivers() // stops what was started for the check alone
		g.o.Log.Error("configuration refused, the old one stays in force", "err", refused)
		return refused
	}
	g.refusal.Store(nil)
	text := "configuration reloaded"
	if !changed {
		text = "configuration reloaded: links, devices and points are as before"
	}
	g.keep(draft, nil)
	g.warnSecrets()
	g.o.Log.Info(text, "revision", g.inForce.Get().Revision)
	return nil
}

func (g *gateway) tryReload(ctx context.Context, files *config.Draft) (changed bool, err error) {
	old := g.inForce.Get()
	next, err := files.Load()
	if err != nil {
		return false, err
	}
	if err := vanished(files, old.Config, next); err != nil {
		return false, err
	}
	stranded := otherUser(next)
	if g.forOthers {
		stranded = ""
	}
	if err := fixed(old.Config, next, stranded); err != nil {
		return false, err
	}
	defer g.inForce.Vet(nil)
	unready, err := g.vetDraft(ctx, files, old.Config, &next, func(*vetting) {})
	if err != nil {
		return false, err
	}
	if faults := unchecked(unready, draft(old.Config), draft(next)); faults != nil {
		return false, &ConfigError{Faults: faults}
	}
	return g.adopt(next, unready)
}

// unchecked is the reasons why drivers could not check what is new for them. A
// driver that is down and has nothing new does not hold up the others.
func unchecked(unready map[string]error, old, next map[string]*control.State) []error {
	fresh := make(map[string]error)
	for kind, err := range unready {
		if old[kind] == nil || !reflect.DeepEqual(old[kind], next[kind]) {
			fresh[kind] = err
		}
	}
	return sorted(fresh)
}

// fixed refuses changes that need a restart. stranded is a driver whose user does not get
// to the directory of the processes' sockets, which has its place since the start.
func fixed(old, next *config.Config, stranded string) error {
	var faults []error
	for _, c := range []struct {
		key       string
		different bool
	}{
		{"data", old.DataDir != next.DataDir},
		{"drivers", old.DriversDir != next.DriversDir},
		{"socket", old.Socket != next.Socket && old.DataDir == next.DataDir}, // it is there by default
		{"spool", old.Spool != next.Spool},
		{"log format", old.Log.Format != next.Log.Format},
		{"processes." + stranded + ".user", stranded != ""},
	} {
		if c.different {
			faults = append(faults, fmt.Errorf("fieldloom.yaml: %s: cannot change while the gateway runs: restart it, or put the old value back", c.key))
		}
	}
	if faults != nil {
		return &ConfigError{Faults: faults}
	}
	return nil
}

// adopt puts a vetted configuration in force, with what the operator chose. Drivers
// whose state is the same keep the very state that they have.
func (g *gateway) adopt(next *config.Config, unready map[string]error) (changed bool, err error) {
	old := g.inForce.Get()
	states, err := g.catalog.States(next, old.Revision)
	if err != nil {
		return false, fmt.Errorf("number the points: %w", err)
	}
	g.choices.Get().Mark(states)
	for kind, state := range states {
		if before := old.States[kind]; before != nil && reflect.DeepEqual(before.Links, state.Links) {
			states[kind] = before
			continue
		}
		changed = true
	}
	changed = changed || len(states) != len(old.States)
	a := &inforce.Config{Config: next, States: states, Unready: unready, Revision: old.Revision, Loaded: time.Now(),
		Aside: old.Aside, Wrong: old.Wrong, Good: old.Good}
	if next == old.Config && old.States != nil {
		a.Loaded = old.Loaded
	}
	if changed {
		if a.Revision, err = g.data.NextRevision(); err != nil {
			return false, fmt.Errorf("count the configuration's revision: %w", err)
		}
		number(states, old.States, a.Revision)
	}
	if g.o.Level != nil {
		g.o.Level.Set(next.Log.Level)
	}
	g.inForce.Set(a)
	if next != old.Config || old.States == nil {
		if err := g.dropOffline(a); err != nil {
			g.o.Log.Warn("drop what was off line", "err", err)
		}
	}
	if changed {
		g.tellLimits()
	}
	g.setDrivers()
	g.tasks.Go(func(ctx context.Context) { g.logs.follow(ctx, &g.fleet) }) // it asks processes, of which one may hang
	if old.TrustFile != next.TrustFile || old.AllowDev != next.AllowDev {
		g.depot.Scan()
		g.warn()
	}
	return changed, nil
}

// setDrivers tells the supervisor what the drivers should do.
func (g *gateway) setDrivers() {
	a, c := g.inForce.Get(), g.choices.Get()
	all := make(map[string]supervise.Desired, len(a.States))
	for kind, state := range a.States {
		p := a.Process(kind)
		d := supervise.Desired{State: state, Instances: desiredInstances(p, state), Standby: p.Standby, Detach: p.Detach, Probation: p.Probation}
		if d.Probation == 0 {
			d.Probation = -1
		}
		if _, disabled := c.Disabled[kind]; disabled {
			d.Disabled = "disabled by the operator"
		}
		all[kind] = d
	}
	g.drivers.Set(all)
}

// number gives the states that changed their revision.
func number(states, old map[string]*control.State, revision uint64) {
	for kind, state := range states {
		if old[kind] != state {
			state.Revision = revision
		}
	}
}

// Reload implements api.Gateway.
func (g *gateway) Reload(ctx context.Context) (client.ConfigStatus, error) {
	err := g.reload(ctx)
	var refused *ConfigError
	if errors.As(err, &refused) {
		return client.ConfigStatus{}, &client.Error{Status: 422, Code: "invalid-config",
			Detail: "the configuration is refused, the old one stays in force", Errors: refused.Lines()}
	}
	if wrong := g.inForce.Get().Wrong; err == nil && wrong != nil {
		return client.ConfigStatus{}, &client.Error{Status: 422, Code: "invalid-config",
			Detail: "link files are wrong and not in force, everything else is: " + strings.Join(g.inForce.Get().Aside, "; "), Errors: wrong}
	}
	return g.configStatus(), err
}

func (g *gateway) configStatus() client.ConfigStatus {
	a := g.inForce.Get()
	s := client.ConfigStatus{Dir: a.Dir, Revision: a.Revision, Loaded: a.Loaded, LastGood: a.Good, Aside: a.Aside}
	if a.Wrong != nil {
		s.Refused, s.Errors = a.Loaded, a.Wrong
	}
	if r := g.refusal.Load(); r != nil {
		s.Refused, s.Errors = r.at, r.lines
	}
	return s
}
