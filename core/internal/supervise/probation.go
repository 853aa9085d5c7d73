package supervise

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	probe      = time.Second     // between two looks at a version on probation
	badFor     = 3 * time.Second // that something must be down to count
	worse      = 0.2             // by how much a rate must rise to count
	enough     = 20              // polls, from which on a rate is one
	muteLimits = 3               // looks in a row that were not answered
)

// health is what links and devices were like; the key of a link's own is its name
// with no device.
type health map[place]wellness

// wellness is one link's or device's.
type wellness struct {
	up           bool
	bad, overrun float64 // of all samples, and of all polls due
}

// healthOf asks a member's process. Of what does not answer nothing is known, and
// the new version is not compared with it.
func (u *upgrade) healthOf(ctx context.Context, m *member) health {
	proc := u.process(m)
	if proc == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.patience())
	defer cancel()
	s, err := proc.Status(ctx)
	if err != nil {
		return nil
	}
	h := make(health)
	for i := range s.Links {
		l := &s.Links[i]
		h[place{l.Name, ""}] = wellness{up: isUp(l.Condition)}
		for j := range l.Devices {
			h[place{l.Name, l.Devices[j].Name}] = wellnessOf(&l.Devices[j])
		}
	}
	return h
}

func isUp(c control.Condition) bool { return c == control.Up || c == control.Degraded }

func wellnessOf(d *control.DeviceStatus) wellness {
	return wellness{up: isUp(d.Condition), bad: rate(d.BadSamples, d.Samples), overrun: rate(d.Overruns, d.Polls+d.Overruns)}
}

func rate(part, whole uint64) float64 { return float64(part) / float64(max(whole, 1)) }

// probation watches the new version until its time is over. Its death and its hanging
// come by themselves.
func (u *upgrade) probation(ctx context.Context) error {
	p := u.pool
	p.mu.Lock()
	limit := p.demand.desired.Probation
	p.mu.Unlock()
	switch {
	case !slices.ContainsFunc(u.turns, func(t *turn) bool { return !t.renews }):
		u.tell("", "the new processes have all links; they execute what was proved before, so there is no probation")
		return nil
	case limit < 0:
		u.tell("", "the new version has all links, without a probation")
		return nil
	case limit == 0:
		limit = defaultProbation
	}
	u.tell("", "the new version has all links and is on probation for %v", limit)
	end := time.Now().Add(limit)
	for {
		pause := min(probe, time.Until(end))
		if pause <= 0 {
			if !u.unanswered() {
				return nil
			}
			pause = probe // until it answers, or is given up
		}
		over := time.Now().Add(pause)
		if err := u.wait(ctx, pause+time.Minute, "wait", p.at(over)); err != nil {
			return err
		}
		for _, t := range u.turns {
			if err := u.judge(ctx, t); err != nil {
				return u.giveUp(t, err)
			}
		}
	}
}

// unanswered reports whether a new process has not answered the last look at it: it is not
// known to be well.
func (u *upgrade) unanswered() bool {
	return slices.ContainsFunc(u.turns, func(t *turn) bool { return t.mute > 0 })
}

// judge compares a new process with what the old one was like.
func (u *upgrade) judge(ctx context.Context, t *turn) error {
	proc := u.process(t.next)
	if proc == nil {
		return nil // its death is known
	}
	limited, cancel := context.WithTimeout(ctx, u.patience())
	defer cancel()
	s, err := proc.Status(limited)
	if err != nil {
		if t.mute++; t.mute >= muteLimits && ctx.Err() == nil {
			return fmt.Errorf("the new version does not tell its status: %w", err)
		}
		return nil
	}
	t.mute = 0
	for i := range s.Links {
		if err := t.before.compare(&s.Links[i], time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// compare tells what of a link is clearly worse than it was. What was taken off line is
// compared no more: its counters tell of that too.
func (h health) compare(l *control.LinkStatus, now time.Time) error {
	if l.Condition == control.NotStarted || l.Condition == control.Stopped && l.Cause == nil {
		return nil // it is not this process's
	}
	h.forgetOffline(l)
	if h[place{l.Name, ""}].up && !isUp(l.Condition) && now.Sub(l.Since) >= badFor {
		return fmt.Errorf("with the new version link %s is %s, and was up before%s", l.Name, l.Condition, because(l.Cause))
	}
	for i := range l.Devices {
		d := &l.Devices[i]
		was, known := h[place{l.Name, d.Name}]
		if !known {
			continue
		}
		is := wellnessOf(d)
		switch {
		case was.up && !is.up && now.Sub(d.Since) >= badFor:
			return fmt.Errorf("with the new version device %s/%s is %s, and was up before%s", l.Name, d.Name, d.Condition, because(d.Cause))
		case d.Samples >= enough && is.bad > was.bad+worse:
			return fmt.Errorf("with the new version %.0f %% of the samples of %s/%s are Bad, and were %.0f %% before%s",
				100*is.bad, l.Name, d.Name, 100*was.bad, because(d.Cause))
		case d.Polls+d.Overruns >= enough && is.overrun > was.overrun+worse:
			return fmt.Errorf("with the new version %.0f %% of the polls of %s/%s come too late, and %.0f %% did before",
				100*is.overrun, l.Name, d.Name, 100*was.overrun)
		}
	}
	return nil
}

func (h health) forgetOffline(l *control.LinkStatus) {
	whole := isOffline(l.Condition, l.Cause)
	if whole {
		delete(h, place{l.Name, ""})
	}
	for i := range l.Devices {
		if d := &l.Devices[i]; whole || isOffline(d.Condition, d.Cause) {
			delete(h, place{l.Name, d.Name})
		}
	}
}

func isOffline(c control.Condition, cause *driver.Error) bool {
	return c == control.Stopped && cause != nil && cause.Code == driver.Denied && cause.Text == control.OfflineText
}

func because(cause *driver.Error) string {
	if cause == nil {
		return ""
	}
	return ": " + cause.Text
}
