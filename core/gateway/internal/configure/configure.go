// Package configure puts configurations in force.
//
// The Service loads what the files say, lets the drivers check it (a Vetting), and puts it
// in force with what the operator chose; where it cannot, what was in force stays so. It
// keeps a copy of the last good configuration, and starts from that where the files are
// wrong. What is in force is read from an inforce.Current; only this package sets it.
package configure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/secrets"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// refusal is why a newer configuration is not in force.
type refusal struct {
	at    time.Time
	lines []string
}

// A Service puts configurations in force, one after the other.
type Service struct {
	InForce  *inforce.Current
	Choices  *choices.Book
	Catalog  *catalog.Catalog
	Data     *datadir.Dir
	Drivers  *supervise.Supervisor
	Depot    *depot.Depot
	Attached map[string]string // drivers that were started by hand
	// Stranded finds a driver of a configuration whose user does not get to the sockets of
	// the processes; empty: there is none.
	Stranded func(next *config.Config) string
	// Instances is how many processes share the links of a state.
	Instances func(how config.Process, state *control.State) int
	// Changed is called when another configuration is in force; states: what drivers have
	// to do is another.
	Changed func(old, now *inforce.Config, states bool)
	Level   *slog.LevelVar // of the gateway's log; may be nil
	Log     *slog.Logger

	changing sync.Mutex // held while what is in force changes
	refusal  atomic.Pointer[refusal]
}

var _ api.Config = (*Service)(nil)

// Begin puts the first configuration in force: that of first, where it is not nil.
// A driver that does not start does not hold up the others: the supervisor tries it again,
// and the API says so.
func (s *Service) Begin(ctx context.Context, first *Start) error {
	next := s.InForce.Get().Config
	if first == nil {
		first = &Start{Config: next}
	}
	defer s.InForce.Vet(nil)
	unready, err := s.vetDraft(ctx, first.draft, lastGood(next.Dir), &next, func(v *Vetting) {
		v.Start, v.Known = firstStart, func(string) bool { return true } // one that is missing now may come
	})
	if err != nil {
		return err
	}
	for _, fault := range Sorted(unready) {
		s.Log.Error("configuration is not checked by its driver", "err", fault)
	}
	if first.why != nil {
		s.refusal.Store(&refusal{at: s.InForce.Get().Loaded, lines: first.why.Lines()})
		s.Log.Error("configuration refused, the last good one is in force", "saved", first.good.Saved, "copy", first.good.Path, "err", first.why)
	}
	_, err = s.putInForce(next, unready, noteOf(first.draft, first.good))
	if err != nil {
		return err
	}
	s.keep(first.draft)
	s.warnSecrets()
	return nil
}

// vetDraft lets the drivers check a configuration. Link files with what they refuse are set
// aside, and the configuration is then another one; no link of old may go with that. draft
// and old may be nil.
func (s *Service) vetDraft(ctx context.Context, draft *config.Draft, old *config.Config, c **config.Config, change func(*Vetting)) (unready map[string]error, err error) {
	for {
		if *c != s.InForce.Get().Config {
			s.InForce.Vet(*c)
		}
		v := s.vetting(*c)
		v.Before = old
		change(v)
		unready, err = v.Vet(ctx)
		var refused *RefusedError
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

// A note says what of the files is not in force, beside what is.
type note struct {
	aside, wrong []string  // as inforce.Config has them
	good         time.Time // of the last good configuration, where that is in force
}

// noteOf is the note of a draft that is put in force, or of the last good configuration; both
// may be nil.
func noteOf(draft *config.Draft, good *Good) (n note) {
	if good != nil {
		n.good = good.Saved
	}
	if draft != nil {
		n.aside = asideOf(draft)
		for _, fault := range draft.Faults() {
			n.wrong = append(n.wrong, fault.Error())
		}
	}
	return n
}

// keep logs what of the files is not in force, and keeps a copy of what is; draft may be nil.
func (s *Service) keep(draft *config.Draft) {
	a := s.InForce.Get()
	for _, text := range a.Aside {
		s.Log.Error("link file is wrong", "file", text, "err", strings.Join(a.Wrong, "; "))
	}
	if draft == nil {
		return
	}
	if err := saveGood(a.DataDir, a.Dir, draft.Files(), time.Now()); err != nil {
		s.Log.Warn("keep a copy of the configuration: after a restart an error in the files would stop everything", "err", err)
	}
}

// vetting checks c, of which only what is new must have its driver there.
func (s *Service) vetting(c *config.Config) *Vetting {
	states := s.InForce.Get().States
	return &Vetting{Config: c, Drivers: s.Drivers, Packages: s.Depot, Attached: s.Attached,
		Known: func(driverName string) bool { return states[driverName] != nil }}
}

// reload loads the configuration and puts it in force, or leaves the old one in
// force wholly.
func (s *Service) reload(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	draft := config.ReadDraft(s.InForce.Get().Dir, keptOf(s.InForce.Get().Dir))
	changed, err := s.tryReload(ctx, draft)
	if err != nil {
		refused := RefusedBy(err)
		s.refusal.Store(&refusal{at: time.Now(), lines: refused.Lines()})
		s.SetDrivers() // stops what was started for the check alone
		s.Log.Error("configuration refused, the old one stays in force", "err", refused)
		return refused
	}
	s.refusal.Store(nil)
	text := "configuration reloaded"
	if !changed {
		text = "configuration reloaded: links, devices and points are as before"
	}
	s.keep(draft)
	s.warnSecrets()
	s.Log.Info(text, "revision", s.InForce.Get().Revision)
	return nil
}

func (s *Service) tryReload(ctx context.Context, files *config.Draft) (changed bool, err error) {
	old := s.InForce.Get()
	next, err := files.Load()
	if err != nil {
		return false, err
	}
	if err := vanished(files, old.Config, next); err != nil {
		return false, err
	}
	if err := fixed(old.Config, next, s.Stranded(next)); err != nil {
		return false, err
	}
	defer s.InForce.Vet(nil)
	unready, err := s.vetDraft(ctx, files, old.Config, &next, func(*Vetting) {})
	if err != nil {
		return false, err
	}
	if faults := unchecked(unready, draft(old.Config), draft(next)); faults != nil {
		return false, &RefusedError{Causes: faults}
	}
	return s.putInForce(next, unready, noteOf(files, nil))
}

// unchecked is the reasons why drivers could not check what is new for them. A
// driver that is down and has nothing new does not hold up the others.
func unchecked(unready map[string]error, old, next map[string]*control.State) []error {
	fresh := make(map[string]error)
	for driverName, err := range unready {
		if old[driverName] == nil || !reflect.DeepEqual(old[driverName], next[driverName]) {
			fresh[driverName] = err
		}
	}
	return Sorted(fresh)
}

// fixed refuses changes that need a restart. stranded is a driver whose user does not get
// to the directory of the processes' sockets, which has its place since the start.
func fixed(old, next *config.Config, stranded string) error {
	keys := old.Fixed(next)
	if stranded != "" {
		keys = append(keys, "processes."+stranded+".user")
	}
	if len(keys) == 0 {
		return nil
	}
	var faults []error
	for _, key := range keys {
		faults = append(faults, &driver.ConfigError{Place: driver.Place{File: config.MainFile, Path: key},
			Text: "cannot change while the gateway runs: restart it, or put the old value back"})
	}
	return &RefusedError{Causes: faults}
}

// putInForce puts a vetted configuration in force, with what the operator chose. Drivers
// whose state is the same keep the very state that they have.
func (s *Service) putInForce(next *config.Config, unready map[string]error, n note) (changed bool, err error) {
	old := s.InForce.Get()
	states, err := s.Catalog.States(next, old.Revision)
	if err != nil {
		return false, fmt.Errorf("number the points: %w", err)
	}
	s.Choices.Get().Mark(states)
	for driverName, state := range states {
		if before := old.States[driverName]; before != nil && reflect.DeepEqual(before.Links, state.Links) {
			states[driverName] = before
			continue
		}
		changed = true
	}
	changed = changed || len(states) != len(old.States)
	a := &inforce.Config{Config: next, States: states, Unready: unready, Revision: old.Revision, Loaded: time.Now(),
		Aside: n.aside, Wrong: n.wrong, Good: n.good}
	if next == old.Config && old.States != nil {
		a.Loaded = old.Loaded
	}
	if changed {
		if a.Revision, err = s.Data.NextRevision(); err != nil {
			return false, fmt.Errorf("count the configuration's revision: %w", err)
		}
		number(states, old.States, a.Revision)
	}
	if s.Level != nil {
		s.Level.Set(next.Log.Level)
	}
	s.InForce.Set(a)
	if next != old.Config || old.States == nil {
		if err := s.dropOffline(a); err != nil {
			s.Log.Warn("drop what was off line", "err", err)
		}
	}
	s.SetDrivers()
	if old.TrustFile != next.TrustFile || old.AllowDev != next.AllowDev {
		s.Depot.Scan()
	}
	s.Changed(old, a, changed)
	return changed, nil
}

// number gives the states that changed their revision.
func number(states, old map[string]*control.State, revision uint64) {
	for driverName, state := range states {
		if old[driverName] != state {
			state.Revision = revision
		}
	}
}

// Reload implements api.Config.
func (s *Service) Reload(ctx context.Context) (client.ConfigStatus, error) {
	err := s.reload(ctx)
	var refused *RefusedError
	if errors.As(err, &refused) {
		return client.ConfigStatus{}, &client.Error{Status: 422, Code: "invalid-config",
			Detail: "the configuration is refused, the old one stays in force", Errors: refused.Lines()}
	}
	if wrong := s.InForce.Get().Wrong; err == nil && wrong != nil {
		return client.ConfigStatus{}, &client.Error{Status: 422, Code: "invalid-config",
			Detail: "link files are wrong and not in force, everything else is: " + strings.Join(s.InForce.Get().Aside, "; "), Errors: wrong}
	}
	return s.Status(), err
}

// Status is what is in force, and what is not and why.
func (s *Service) Status() client.ConfigStatus {
	a := s.InForce.Get()
	status := client.ConfigStatus{Dir: a.Dir, Revision: a.Revision, Loaded: a.Loaded, LastGood: a.Good, Aside: a.Aside}
	if a.Wrong != nil {
		status.Refused, status.Errors = a.Loaded, a.Wrong
	}
	if r := s.refusal.Load(); r != nil {
		status.Refused, status.Errors = r.at, r.lines
	}
	return status
}

// RetryRefused loads the files again where something of them is not in force: drivers have
// come or gone.
func (s *Service) RetryRefused(ctx context.Context) {
	if s.refusal.Load() != nil || s.InForce.Get().Wrong != nil {
		_ = s.reload(ctx) // logged, and in the status
	}
}

// RetryUnready loads the files again where a driver runs now that could not check its part
// before, and reports whether it did.
func (s *Service) RetryUnready(ctx context.Context) bool {
	if s.refusal.Load() != nil || !s.unreadyRuns() {
		return false
	}
	_ = s.reload(ctx)
	return true
}

// unreadyRuns reports whether a driver runs now that could not check its part before.
func (s *Service) unreadyRuns() bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(s.InForce.Get().Unready)), func(driverName string) bool {
		_, err := s.Drivers.Control(driverName, "")
		return err == nil
	})
}

// warnSecrets logs the secrets that cannot be had: the links that name them do not open.
func (s *Service) warnSecrets() {
	for _, fault := range secrets.Check(s.InForce.Get().Config) {
		s.Log.Error("a secret cannot be had: the links that name it do not open", "err", fault)
	}
}
