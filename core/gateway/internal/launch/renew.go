package launch

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/tasks"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

const (
	// renewRest is the time between two attempts to give a driver new processes for
	// different reasons, renewPause between two for one reason, which then were of no
	// use: it doubles up to renewLimit.
	renewRest  = 5 * time.Second
	renewPause = time.Minute
	renewLimit = time.Hour
)

// A Renewer gives drivers new processes whose own may not do what they now have to: a link
// with another port was configured, an adapter was plugged in again, which is another file
// than the one that the process was given, or the gateway's user has come into a group. A
// process cannot be given more than it started with, so the driver gets new processes of
// the same version, link by link and without a probation.
type Renewer struct {
	Launcher *Launcher
	Running  func(driverName string) bool // has processes that could be replaced
	Upgrade  func(ctx context.Context, driverName, version string, step func(supervise.Step)) error
	Tasks    *tasks.Group
	Log      *slog.Logger

	mu   sync.Mutex         // guards last
	last map[string]renewal // the last attempt, by driver
}

// Look looks at the processes of drivers.
func (r *Renewer) Look(drivers iter.Seq[string]) {
	for driverName := range drivers {
		why := r.lacks(driverName)
		if why == "" || !r.Running(driverName) || !r.may(driverName, why, time.Now()) {
			continue
		}
		r.Log.Info("driver gets new processes", "driver", driverName, "err", why)
		r.Tasks.Go(func(ctx context.Context) {
			err := r.Launcher.renew(ctx, driverName, r.Upgrade)
			switch {
			case err == nil || ctx.Err() != nil:
			case driver.CodeOf(err) == driver.Busy: // a version is on probation: once that is over
				r.forget(driverName)
			default:
				r.Log.Warn("give a driver new processes", "driver", driverName, "err", err)
			}
		})
	}
}

// renewal is the last attempt to give a driver new processes.
type renewal struct {
	why   string
	at    time.Time
	pause time.Duration // until the next for the same reason
}

// may reports whether it is time to give a driver new processes, and notes that they
// are given.
func (r *Renewer) may(driverName, why string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.last[driverName]
	next := renewal{why: why, at: now, pause: renewPause}
	switch {
	case !known:
	case last.why == why:
		if now.Sub(last.at) < last.pause {
			return false
		}
		next.pause = min(2*last.pause, renewLimit)
	case now.Sub(last.at) < renewRest:
		return false
	}
	if r.last == nil {
		r.last = make(map[string]renewal)
	}
	r.last[driverName] = next
	return true
}

// forget makes the next attempt possible at once.
func (r *Renewer) forget(driverName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, driverName)
}

// lacks says why the processes of a driver cannot do what they have to, so that no two
// reasons read the same; empty: they can.
func (r *Renewer) lacks(driverName string) string {
	for _, p := range r.Launcher.fleet.of(driverName) {
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
		if want, err := r.Launcher.policy(driverName); err == nil && digest(&want) != digest(&p.Policy) {
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
