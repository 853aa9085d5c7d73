package gateway

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// refitRest is the time between two attempts to give a driver new processes for
	// different reasons, refitPause between two for one reason, which then were of no
	// use: it doubles up to refitLimit.
	refitRest  = 5 * time.Second
	refitPause = time.Minute
	refitLimit = time.Hour
)

// refit finds drivers whose processes may not do what they now have to: a link with
// another port was configured, an adapter was plugged in again, which is another file
// than the one that the process was given, or the gateway's user has come into a group. A
// process cannot be given more than it started with, so the driver gets new processes of
// the same version, link by link and without a probation.
func (g *gateway) refit() {
	for kind := range g.inForce.Get().States {
		why := g.misfit(kind)
		if why == "" || !g.running(kind) || !g.upgrades.mayRefit(kind, why, time.Now()) {
			continue
		}
		g.o.Log.Info("driver gets new processes", "driver", kind, "err", why)
		g.background(func(ctx context.Context) {
			err := g.launcher.renew(ctx, kind, g.drivers.Upgrade)
			switch {
			case err == nil || ctx.Err() != nil:
			case driver.CodeOf(err) == driver.Busy: // a version is on probation: once that is over
				g.upgrades.forgetRefit(kind)
			default:
				g.o.Log.Warn("give a driver new processes", "driver", kind, "err", err)
			}
		})
	}
}

// refitted is the last attempt to give a driver new processes.
type refitted struct {
	why   string
	at    time.Time
	pause time.Duration // until the next for the same reason
}

// mayRefit reports whether it is time to give a driver new processes, and notes that they
// are given.
func (u *upgrades) mayRefit(kind, why string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, known := u.refit[kind]
	next := refitted{why: why, at: now, pause: refitPause}
	switch {
	case !known:
	case last.why == why:
		if now.Sub(last.at) < last.pause {
			return false
		}
		next.pause = min(2*last.pause, refitLimit)
	case now.Sub(last.at) < refitRest:
		return false
	}
	if u.refit == nil {
		u.refit = make(map[string]refitted)
	}
	u.refit[kind] = next
	return true
}

// forgetRefit makes the next attempt possible at once.
func (u *upgrades) forgetRefit(kind string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.refit, kind)
}

// misfit tells why the processes of a driver cannot do what they have to, so that no two
// reasons read the same; empty: they can.
func (g *gateway) misfit(kind string) string {
	for _, p := range g.fleet.of(kind) {
		if p.ByHand {
			continue
		}
		if lacks := p.lackedGroups(); len(lacks) > 0 {
			return fmt.Sprintf("its user is in groups %v, and was not when it was started", lacks)
		}
		if p.Policy.Mode == confine.Off {
			continue
		}
		if stale := p.Confinement.Stale(); len(stale) > 0 {
			return "another file than it was given is at " + identities(stale)
		}
		if want, err := g.launcher.policy(kind); err == nil && digest(&want) != digest(&p.Policy) {
			return "its configuration needs other rights (" + digest(&want) + ")"
		}
	}
	return ""
}

// identities names files, each with what tells it from others of its name.
func identities(list []confine.Granted) string {
	texts := make([]string, len(list))
	for i, f := range list {
		texts[i] = fmt.Sprintf("%s (inode %d of %s)", f.Path, f.Inode, time.Unix(0, f.Born).UTC().Format(time.RFC3339Nano))
	}
	return strings.Join(texts, ", ")
}

// lackedGroups are the groups that a process which were started now would be in, and
// this one is not: those of the gateway, or of the devices where it has a user of its own.
// A process that outlives its gateway does not get what the next one has.
func (p *process) lackedGroups() []int {
	own := p.Policy.UID != 0 && slices.Contains(p.Confinement.InForce, fmt.Sprintf("uid %d", p.Policy.UID))
	if !own && !p.adopted {
		return nil // it was given the gateway's, which do not change
	}
	want, err := os.Getgroups()
	if own {
		want, err = p.Policy.AllGroups(), nil
	}
	if err != nil || len(want) == 0 {
		return nil
	}
	have, err := confine.GroupsOf(p.PID())
	if err != nil {
		return nil // it has ended
	}
	return slices.DeleteFunc(slices.Clone(want), func(group int) bool { return slices.Contains(have, group) })
}
