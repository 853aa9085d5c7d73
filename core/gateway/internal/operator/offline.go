package operator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

const (
	// drainedIn is how long a link may take to be drained before the command returns
	// without waiting for it.
	drainedIn = 10 * time.Second
	lookEvery = 50 * time.Millisecond
	// upIn is how long a target that was brought on line without a check may take to come up.
	upIn = 20 * time.Second
	// checksLimit bounds how long the health checks of one command take together, and
	// checksAtATime how many are made at the same time.
	checksLimit   = 60 * time.Second
	checksAtATime = 16
)

// Offline implements api.Choices.
func (s *Service) Offline(ctx context.Context, r client.LineRequest) ([]client.LineResult, error) {
	targets, err := s.takeOffline(r)
	if err != nil {
		return nil, err
	}
	open := s.awaitDrained(ctx, targets)
	if r.Driver != "" {
		s.Log.Warn("taken off line by the operator", "driver", r.Driver)
		return []client.LineResult{{Name: r.Driver, Since: s.Choices.Get().Resting[r.Driver],
			Text: "off line with " + linkCount(len(targets)) + stillOpen(len(open) > 0)}}, nil
	}
	results := make([]client.LineResult, len(targets))
	for i, l := range targets {
		s.Log.Warn("taken off line by the operator", "link", l.Link, "device", l.Device)
		results[i] = client.LineResult{Name: l.String(), Since: s.Choices.Get().Offline[l.String()], Text: "off line" + stillOpen(slices.Contains(open, l))}
	}
	return results, nil
}

func stillOpen(is bool) string {
	if is {
		return openText
	}
	return ""
}

func linkCount(n int) string {
	if n == 1 {
		return "1 link"
	}
	return fmt.Sprintf("%d links", n)
}

// takeOffline marks what is asked for, and tells the drivers.
func (s *Service) takeOffline(r client.LineRequest) ([]inforce.Target, error) {
	defer s.Config.Hold()()
	targets, err := s.InForce.Get().TargetsFor(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return targets, s.Config.Choose(func(c *choices.Choices) {
		if r.Driver != "" {
			choices.KeepTime(c.Resting, r.Driver, now)
			return
		}
		for _, l := range targets {
			choices.KeepTime(c.Offline, l.String(), now)
		}
	})
}

// awaitDrained waits until nothing of the targets is open any more, and returns those of
// which it is not known after a while.
func (s *Service) awaitDrained(ctx context.Context, targets []inforce.Target) (open []inforce.Target) {
	ctx, cancel := context.WithTimeout(ctx, drainedIn)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if open = s.open(ctx, targets); len(open) == 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return open
		}
	}
}

// openText is what is said besides of what is to go off line and may be open still.
const openText = ", but its driver has not said yet that it has closed it: see `fieldloom status`"

// condition is the condition of a link or a device, and why.
type condition struct {
	is    control.Condition
	cause *driver.Error
}

// conditions is what the drivers say of everything, as far as they answer.
func (s *Service) conditions(ctx context.Context) map[inforce.Target]condition {
	all := make(map[inforce.Target]condition)
	for _, d := range s.Drivers.Status(ctx) {
		if d.Engine == nil {
			continue
		}
		for i := range d.Engine.Links {
			l := &d.Engine.Links[i]
			all[inforce.Target{Link: l.Name}] = condition{l.Condition, l.Cause}
			for j := range l.Devices {
				all[inforce.Target{Link: l.Name, Device: l.Devices[j].Name}] = condition{l.Devices[j].Condition, l.Devices[j].Cause}
			}
		}
	}
	return all
}

// open returns the targets that are open, or of which it is not known because their driver
// does not answer.
func (s *Service) open(ctx context.Context, targets []inforce.Target) (open []inforce.Target) {
	all := s.conditions(ctx)
	var silent map[string]bool
	for _, l := range targets {
		c, known := all[l]
		if !known && silent == nil {
			silent = s.silent(ctx)
		}
		if known && c.is != control.Stopped && c.is != control.NotStarted || !known && silent[s.driverOf(l)] {
			open = append(open, l)
		}
	}
	return open
}

// silent is the drivers that run and do not answer.
func (s *Service) silent(ctx context.Context) map[string]bool {
	drivers := make(map[string]bool)
	for _, d := range s.Drivers.Status(ctx) {
		drivers[d.Driver] = d.PID != 0 && d.Engine == nil
	}
	return drivers
}

// driverOf is the driver of a target; empty: it is not configured now.
func (s *Service) driverOf(l inforce.Target) string {
	if link, err := s.InForce.Get().FindTarget(l); err == nil {
		return link.Driver
	}
	return ""
}
