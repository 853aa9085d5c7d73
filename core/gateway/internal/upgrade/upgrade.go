// Package upgrade brings drivers to other versions, and back.
package upgrade

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/packages"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/gateway/internal/tasks"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A Service brings drivers to other versions. It has no state of its own: which version a
// driver is at is in the depot, which one it was at before in the operator's choices, and
// an upgrade in hand is the supervisor's, which refuses a second one of the same driver.
type Service struct {
	InForce  *inforce.Current
	Choices  *choices.Book
	Drivers  *supervise.Supervisor
	Depot    *depot.Depot
	Attached map[string]string // drivers that were started by hand
	Tasks    *tasks.Group      // an upgrade goes on when its caller goes
}

var _ api.Upgrades = (*Service)(nil)

// Upgrade implements api.Upgrades. It looks at the drivers directory first: a new build may
// have come there just now.
func (s *Service) Upgrade(_ context.Context, driverName, version string, step func(client.Step)) error {
	s.Depot.Scan()
	if version == "" {
		newest, err := s.newest(driverName)
		if err != nil {
			return err
		}
		version = newest
	}
	if err := s.fits(driverName, version); err != nil {
		return err
	}
	return s.bring(driverName, version, step)
}

// fits refuses a version that may not reach what links name, where the active one may: its
// links would go down. What is wrong with the version itself is found later.
func (s *Service) fits(driverName, version string) error {
	next, err := s.Depot.ImageOf(driverName, version)
	active, activeErr := s.Depot.Image(driverName)
	if err != nil || activeErr != nil || s.Attached[driverName] != "" {
		return nil
	}
	c := s.InForce.Get().Config
	wrong := reach.Check(c, driverName, next.Manifest, nil).Faults
	if len(wrong) == 0 || len(reach.Check(c, driverName, active.Manifest, nil).Faults) > 0 {
		return nil
	}
	more := ""
	if len(wrong) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(wrong)-1)
	}
	return driver.Errorf(driver.InvalidConfig, "driver %s %s may not reach what a link names: %w%s: change the link first, or take another version", driverName, version, wrong[0], more)
}

// Rollback implements api.Upgrades. While an upgrade is in hand, also during its probation,
// it is the way back at once.
func (s *Service) Rollback(_ context.Context, driverName, version string, step func(client.Step)) error {
	s.Depot.Scan()
	life, done, ok := s.Tasks.Begin()
	if !ok {
		return errGatewayStops
	}
	defer done()
	var last client.Step
	taken, err := s.Drivers.TakeBack(life, driverName, func(now supervise.Step) {
		last = stepOf(&now)
		step(last)
	})
	if err != nil {
		return err
	}
	active := packages.ActiveVersion(s.Depot, driverName)
	if taken != "" && (version == active || version == "" && taken != active) {
		last.Time, last.Name, last.Final, last.Version = time.Now(), "done", true, active
		last.Link, last.Text = "", fmt.Sprintf("driver %s is at version %s again", driverName, active)
		step(last)
		return nil
	}
	if version == "" {
		if version = s.Choices.Get().Previous[driverName]; version == "" {
			return driver.Errorf(driver.NotFound, "driver %s ran no other version before: name one, as `fieldloom driver list` shows them", driverName)
		}
	}
	return s.bring(driverName, version, step)
}

// errGatewayStops is the answer to what is not begun any more.
var errGatewayStops = driver.Errorf(driver.NotConnected, "the gateway is stopping")

// newest is the accepted version with the highest serial.
func (s *Service) newest(driverName string) (version string, err error) {
	var highest uint64
	for _, e := range s.Depot.List() {
		if e.Driver == driverName && e.State != depot.Refused && (version == "" || e.Serial > highest) {
			version, highest = e.Version, e.Serial
		}
	}
	if version == "" {
		return "", driver.Errorf(driver.NotFound, "no package of driver %s may run: see `fieldloom driver list`", driverName)
	}
	return version, nil
}

// bring brings a driver to a version. What a driver runs that no link uses is decided
// at once.
func (s *Service) bring(driverName, version string, step func(client.Step)) error {
	life, done, ok := s.Tasks.Begin()
	if !ok {
		return errGatewayStops
	}
	defer done()
	if s.Attached[driverName] != "" {
		return driver.Errorf(driver.Unsupported, "driver %s was started by hand (FIELDLOOM_ATTACH): stop it and start the other version by hand", driverName)
	}
	if err := packages.Usable(s.Depot); err != nil {
		return err
	}
	if _, err := s.Depot.ImageOf(driverName, version); err != nil {
		return driver.Errorf(driver.NotFound, "%w", err)
	}
	before := packages.ActiveVersion(s.Depot, driverName)
	if !s.Running(driverName) {
		if err := s.settle(driverName, before, version); err != nil {
			return err
		}
		step(client.Step{Time: time.Now(), Name: "done", Final: true, Version: version, Text: fmt.Sprintf("driver %s does not run: it will start with version %s", driverName, version)})
		return nil
	}
	var last client.Step
	err := s.Drivers.Upgrade(life, driverName, version, func(now supervise.Step) {
		last = stepOf(&now)
		step(last)
	})
	took := err == nil
	if took {
		err = s.settle(driverName, before, version)
	}
	if last.Name == "" {
		return err // nothing was begun
	}
	final := outcome(driverName, before, version, took, err)
	final.Done, final.Of = last.Done, last.Of
	step(final)
	return err
}

// outcome is the last step of an upgrade. One that took and could not be kept is half done:
// the other version runs, and what starts next is not sure.
func outcome(driverName, before, version string, took bool, err error) client.Step {
	s := client.Step{Time: time.Now(), Final: true}
	switch {
	case err == nil:
		s.Name, s.Text, s.Version = "done", fmt.Sprintf("driver %s is at version %s", driverName, version), version
	case took:
		s.Name, s.Text, s.Version = "failed", fmt.Sprintf("driver %s runs version %s, and this could not be kept", driverName, version), version
		s.Fault = &client.Fault{Code: client.CodeUnconfirmed, Text: "it may start with version " + before + " the next time: " + err.Error()}
	default:
		s.Name, s.Text, s.Version = "failed", fmt.Sprintf("driver %s stays at version %s", driverName, before), before
		s.Fault = client.FaultOf(driver.AsError(err))
	}
	return s
}

// Running reports whether there are processes that could be upgraded.
func (s *Service) Running(driverName string) bool {
	_, disabled := s.Choices.Get().Disabled[driverName]
	_, err := s.Drivers.Control(driverName, "")
	return s.InForce.Get().Known(driverName) == nil && !disabled && err == nil
}

// settle makes a version the driver's, durably.
func (s *Service) settle(driverName, before, version string) error {
	if err := s.Depot.SetActive(driverName, version); err != nil {
		return err
	}
	s.Drivers.Refresh()
	if before == "" || before == version {
		return nil
	}
	return s.Choices.Change(func(c *choices.Choices) { c.Previous[driverName] = before })
}

func stepOf(s *supervise.Step) client.Step {
	out := client.Step{Time: s.At, Name: "step", Text: s.Text, Link: s.Link, Done: s.Done, Of: s.Total}
	switch {
	case s.RolledBack:
		out.Name = "back"
	case s.Link != "":
		out.Name = "link"
	}
	return out
}
