package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// upgrades are the upgrades in hand. They go on when the caller goes, and end with the
// gateway, which waits for them.
type upgrades struct {
	work sync.WaitGroup

	mu    sync.Mutex
	over  bool
	refit map[string]refitted // the last attempt to give a driver new processes
}

// begin makes the gateway wait for a piece of work, until done is called. It is false
// once the gateway ends.
func (u *upgrades) begin() (done func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return nil, false
	}
	u.work.Add(1)
	return u.work.Done, true
}

// end lets nothing begin any more, and waits.
func (u *upgrades) end() {
	u.mu.Lock()
	u.over = true
	u.mu.Unlock()
	u.work.Wait()
}

// background runs f until the gateway ends.
func (g *gateway) background(f func(ctx context.Context)) {
	done, ok := g.upgrades.begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		f(g.life)
	}()
}

// Upgrade implements api.Gateway. It looks at the drivers directory first: a new build may
// have come there just now.
func (g *gateway) Upgrade(_ context.Context, kind, version string, step func(client.Step)) error {
	g.depot.Scan()
	if version == "" {
		newest, err := g.newest(kind)
		if err != nil {
			return err
		}
		version = newest
	}
	return g.bring(kind, version, step)
}

// Rollback implements api.Gateway. While an upgrade is in hand, also during its probation,
// it is the way back at once.
func (g *gateway) Rollback(_ context.Context, kind, version string, step func(client.Step)) error {
	g.depot.Scan()
	done, ok := g.upgrades.begin()
	if !ok {
		return errGatewayStops
	}
	defer done()
	var last client.Step
	taken, err := g.drivers.TakeBack(g.life, kind, func(s supervise.Step) {
		last = stepOf(&s)
		step(last)
	})
	if err != nil {
		return err
	}
	active := g.activeVersion(kind)
	if taken != "" && (version == active || version == "" && taken != active) {
		last.Time, last.Name, last.Final, last.Version = time.Now(), "done", true, active
		last.Link, last.Text = "", fmt.Sprintf("driver %s is at version %s again", kind, active)
		step(last)
		return nil
	}
	if version == "" {
		if version = g.choices.Get().Previous[kind]; version == "" {
			return driver.Errorf(driver.NotFound, "driver %s ran no other version before: name one, as `fieldloom driver list` shows them", kind)
		}
	}
	return g.bring(kind, version, step)
}

// errGatewayStops is the answer to what is not begun any more.
var errGatewayStops = driver.Errorf(driver.NotConnected, "the gateway is stopping")

// activeVersion is the version that new processes of a driver are started from; empty:
// there is none.
func (g *gateway) activeVersion(kind string) string {
	active, err := g.depot.Image(kind)
	if err != nil {
		return ""
	}
	return active.Version
}

// newest is the accepted version with the highest serial.
func (g *gateway) newest(kind string) (version string, err error) {
	var highest uint64
	for _, e := range g.depot.List() {
		if e.Driver == kind && e.State != depot.Refused && (version == "" || e.Serial > highest) {
			version, highest = e.Version, e.Serial
		}
	}
	if version == "" {
		return "", driver.Errorf(driver.NotFound, "no package of driver %s may run: see `fieldloom driver list`", kind)
	}
	return version, nil
}

// bring brings a driver to a version. What a driver runs that no link uses is decided
// at once.
func (g *gateway) bring(kind, version string, step func(client.Step)) error {
	done, ok := g.upgrades.begin()
	if !ok {
		return errGatewayStops
	}
	defer done()
	if g.o.Attach[kind] != "" {
		return driver.Errorf(driver.Unsupported, "driver %s was started by hand (FIELDLOOM_ATTACH): stop it and start the other version by hand", kind)
	}
	if err := usable(g.depot); err != nil {
		return err
	}
	if _, err := g.depot.ImageOf(kind, version); err != nil {
		return driver.Errorf(driver.NotFound, "%w", err)
	}
	before := g.activeVersion(kind)
	if !g.running(kind) {
		if err := g.settle(kind, before, version); err != nil {
			return err
		}
		step(client.Step{Time: time.Now(), Name: "done", Final: true, Version: version, Text: fmt.Sprintf("driver %s does not run: it will start with version %s", kind, version)})
		return nil
	}
	var last client.Step
	err := g.drivers.Upgrade(g.life, kind, version, func(s supervise.Step) {
		last = stepOf(&s)
		step(last)
	})
	took := err == nil
	if took {
		err = g.settle(kind, before, version)
	}
	if last.Name == "" {
		return err // nothing was begun
	}
	final := outcome(kind, before, version, took, err)
	final.Done, final.Of = last.Done, last.Of
	step(final)
	return err
}

// outcome is the last step of an upgrade. One that took and could not be kept is half done:
// the other version runs, and what starts next is not sure.
func outcome(kind, before, version string, took bool, err error) client.Step {
	s := client.Step{Time: time.Now(), Final: true}
	switch {
	case err == nil:
		s.Name, s.Text, s.Version = "done", fmt.Sprintf("driver %s is at version %s", kind, version), version
	case took:
		s.Name, s.Text, s.Version = "failed", fmt.Sprintf("driver %s runs version %s, and this could not be kept", kind, version), version
		s.Fault = &client.Fault{Code: client.CodeUnconfirmed, Text: "it may start with version " + before + " the next time: " + err.Error()}
	default:
		s.Name, s.Text, s.Version = "failed", fmt.Sprintf("driver %s stays at version %s", kind, before), before
		s.Fault = client.FaultOf(driver.AsError(err))
	}
	return s
}

// running tells whether there are processes that could be upgraded.
func (g *gateway) running(kind string) bool {
	_, disabled := g.choices.Get().Disabled[kind]
	_, err := g.drivers.Control(kind, "")
	return g.inForce.Get().Known(kind) == nil && !disabled && err == nil
}

// settle makes a version the driver's, durably.
func (g *gateway) settle(kind, before, version string) error {
	if err := g.depot.SetActive(kind, version); err != nil {
		return err
	}
	g.drivers.Refresh()
	if before == "" || before == version {
		return nil
	}
	return g.choices.Change(func(c *choices.Choices) { c.Previous[kind] = before })
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
