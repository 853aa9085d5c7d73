package configure

import (
	"maps"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// Hold keeps everything else from changing what is in force, until release is called.
func (s *Service) Hold() (release func()) {
	s.changing.Lock()
	return s.changing.Unlock
}

// Choose changes what the operator chose and puts it in force. The caller holds what is in
// force.
func (s *Service) Choose(f func(c *choices.Choices)) error {
	before := s.Choices.Get()
	if err := s.Choices.Change(f); err != nil {
		return err
	}
	a := s.InForce.Get()
	_, err := s.putInForce(a.Config, a.Unready, note{aside: a.Aside, wrong: a.Wrong, good: a.Good})
	if err == nil {
		return nil
	}
	// It is not in force, so it must not come into force at the next start either.
	if kept := s.Choices.Change(func(c *choices.Choices) { *c = *before.Clone() }); kept != nil {
		return client.Unconfirmed("it is kept and not in force: %v; and it cannot be taken back: %v: see `fieldloom status` after the next reload", err, kept)
	}
	return err
}

// dropOffline drops what the operator took off line and the configuration does not have
// any more: should it come back, it is another's.
func (s *Service) dropOffline(a *inforce.Config) error {
	var lines, drivers []string
	now := s.Choices.Get()
	for _, name := range slices.Sorted(maps.Keys(now.Offline)) {
		if _, err := a.FindTarget(inforce.ParseTarget(name)); err != nil {
			lines = append(lines, name)
			s.Log.Warn("what was off line is not configured any more: the choice is dropped", "link", inforce.ParseTarget(name).Link, "device", inforce.ParseTarget(name).Device)
		}
	}
	for _, driverName := range slices.Sorted(maps.Keys(now.Resting)) {
		if a.States[driverName] == nil {
			drivers = append(drivers, driverName)
			s.Log.Warn("no link uses a driver that was off line: the choice is dropped", "driver", driverName)
		}
	}
	if lines == nil && drivers == nil {
		return nil
	}
	return s.Choices.Change(func(c *choices.Choices) {
		maps.DeleteFunc(c.Offline, func(name string, _ time.Time) bool { return slices.Contains(lines, name) })
		maps.DeleteFunc(c.Resting, func(driverName string, _ time.Time) bool { return slices.Contains(drivers, driverName) })
	})
}

// SetDrivers tells the supervisor what the drivers should do. The caller holds what is in
// force.
func (s *Service) SetDrivers() {
	a, c := s.InForce.Get(), s.Choices.Get()
	all := make(map[string]supervise.Desired, len(a.States))
	for driverName, state := range a.States {
		p := a.Process(driverName)
		d := supervise.Desired{State: state, Instances: s.Instances(p, state), Standby: p.Standby, Detach: p.Detach, Probation: p.Probation}
		if d.Probation == 0 {
			d.Probation = -1
		}
		if _, disabled := c.Disabled[driverName]; disabled {
			d.Disabled = "disabled by the operator"
		}
		all[driverName] = d
	}
	s.Drivers.Set(all)
}
