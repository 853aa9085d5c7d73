package operator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

// Online implements api.Choices. Nothing else waits for the checks. What its driver cannot
// check is brought on line and watched, and goes off line again where it does not come up.
func (s *Service) Online(ctx context.Context, r client.LineRequest) ([]client.LineResult, error) {
	a, before := s.InForce.Get(), s.Choices.Get()
	results, targets, err := offlineTargets(a, before, r)
	if err != nil {
		return nil, err
	}
	faults := make([]error, len(targets))
	if !r.Force {
		faults = s.checkTargets(ctx, a, targets)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var unchecked []int
	for i, fault := range faults {
		if driver.CodeOf(fault) == driver.Unsupported {
			unchecked, faults[i] = append(unchecked, i), nil
		}
	}
	if err := s.bringOnline(r, targets, faults); err != nil {
		return nil, err
	}
	if err := s.watchOnline(ctx, before, targets, faults, unchecked); err != nil {
		return nil, err
	}
	for i, l := range targets {
		results = append(results, s.onlineResult(l, faults[i]))
	}
	return results, nil
}

// onlineResult is what became of a line; fault is why it stays off line.
func (s *Service) onlineResult(l inforce.Target, fault error) client.LineResult {
	c := s.Choices.Get()
	if fault != nil {
		return client.LineResult{Name: l.String(), Since: c.Offline[l.String()], Fault: client.FaultOf(driver.AsError(fault))}
	}
	if at := c.Offline[l.Link]; !at.IsZero() { // a device of it: its link keeps its own mark
		return client.LineResult{Name: l.String(), Since: at, Text: fmt.Sprintf("on line again as soon as link %s is", l.Link)}
	}
	s.Log.Info("brought on line by the operator", "link", l.Link, "device", l.Device)
	return client.LineResult{Name: l.String(), Text: "on line"}
}

// watchOnline watches targets that were brought on line without a check, those of the given
// indices, until each is up, is down or has had its time. What is not up is taken off line
// again, since when it was before, and its fault is noted.
func (s *Service) watchOnline(ctx context.Context, before *choices.Choices, targets []inforce.Target, faults []error, unchecked []int) error {
	now := s.Choices.Get()
	unchecked = slices.DeleteFunc(unchecked, func(i int) bool { return !now.Offline[targets[i].Link].IsZero() })
	if len(unchecked) == 0 {
		return nil
	}
	s.awaitUp(ctx, targets, faults, unchecked)
	defer s.Config.Hold()()
	a := s.InForce.Get()
	return s.Config.Choose(func(c *choices.Choices) {
		for _, i := range unchecked {
			if link, err := a.FindTarget(targets[i]); err == nil && faults[i] != nil {
				choices.KeepTime(c.Offline, targets[i].String(), before.Since(link.Driver, targets[i]))
			}
		}
	})
}

// awaitUp waits until it is known of each of the targets whether it works, and notes the
// faults of those that do not.
func (s *Service) awaitUp(ctx context.Context, targets []inforce.Target, faults []error, which []int) {
	ctx, cancel := context.WithTimeout(ctx, upIn)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for waiting := slices.Clone(which); len(waiting) > 0; {
		select {
		case <-look.C:
		case <-ctx.Done():
			for _, i := range waiting {
				faults[i] = driver.Errorf(driver.Timeout, "it did not come up within %v: `online --force` does not wait for that", upIn)
			}
			return
		}
		all := s.conditions(ctx)
		waiting = slices.DeleteFunc(waiting, func(i int) bool {
			c, known := all[targets[i]]
			if c.is == control.Down {
				faults[i] = cmp.Or(c.cause, driver.Errorf(driver.NotConnected, "it is down"))
			}
			return known && (c.is == control.Up || c.is == control.Degraded || c.is == control.Down)
		})
	}
}

// bringOnline takes back the marks of the targets that passed their check.
func (s *Service) bringOnline(r client.LineRequest, targets []inforce.Target, faults []error) error {
	defer s.Config.Hold()()
	return s.Config.Choose(func(c *choices.Choices) {
		since := time.Now()
		at, resting := c.Resting[r.Driver]
		if resting { // its links stand for themselves from now on
			since = at
			delete(c.Resting, r.Driver)
		}
		for i, l := range targets {
			if faults[i] == nil {
				delete(c.Offline, l.String())
			} else if _, marked := c.Offline[l.String()]; marked || resting {
				choices.KeepTime(c.Offline, l.String(), since)
			}
		}
	})
}

// offlineTargets are the targets of a request that are off line, and results for those
// that need no check.
func offlineTargets(a *inforce.Config, c *choices.Choices, r client.LineRequest) (results []client.LineResult, targets []inforce.Target, err error) {
	if r.Driver != "" {
		targets, err = a.TargetsFor(r)
		if _, resting := c.Resting[r.Driver]; err == nil && !resting {
			targets = slices.DeleteFunc(targets, func(l inforce.Target) bool { _, off := c.Offline[l.String()]; return !off })
			if len(targets) == 0 {
				return nil, nil, driver.Errorf(driver.BadValue, "driver %s is not off line, nor is any of its links", r.Driver)
			}
		}
		return nil, targets, err
	}
	for _, name := range r.Names {
		l := inforce.ParseTarget(name)
		_, off := c.Offline[l.String()]
		link, err := a.FindTarget(l)
		if err != nil {
			return nil, nil, err
		}
		if _, resting := c.Resting[link.Driver]; resting {
			return nil, nil, driver.Errorf(driver.BadValue, "%s is off line with its driver: use online --driver %s", l, link.Driver)
		}
		switch {
		case !off:
			results = append(results, notMarked(c, l))
		case !slices.Contains(targets, l):
			targets = append(targets, l)
		}
	}
	return results, targets, nil
}

// notMarked is the result of a line that was not taken off line by itself.
func notMarked(c *choices.Choices, l inforce.Target) client.LineResult {
	if at := c.Offline[l.Link]; !at.IsZero() {
		return client.LineResult{Name: l.String(), Since: at, Text: fmt.Sprintf("off line with link %s: bring that on line", l.Link)}
	}
	return client.LineResult{Name: l.String(), Text: "was on line already"}
}

// checkTargets makes the health checks, and returns the fault of each target.
func (s *Service) checkTargets(ctx context.Context, a *inforce.Config, targets []inforce.Target) []error {
	ctx, cancel := context.WithTimeout(ctx, checksLimit)
	defer cancel()
	faults := make([]error, len(targets))
	places := semaphore.NewWeighted(checksAtATime)
	var checks sync.WaitGroup
	for i, l := range targets {
		if err := places.Acquire(ctx, 1); err != nil {
			faults[i] = err
			continue
		}
		checks.Go(func() {
			defer places.Release(1)
			faults[i] = s.checkTarget(ctx, a, l)
		})
	}
	checks.Wait()
	return faults
}

// checkTarget returns why a target does not work.
func (s *Service) checkTarget(ctx context.Context, a *inforce.Config, l inforce.Target) error {
	link, err := a.FindTarget(l)
	if err != nil {
		return err
	}
	control, err := s.Drivers.Control(link.Driver, link.Name)
	if err != nil {
		return err
	}
	return control.Check(ctx, l.Link, l.Device)
}
