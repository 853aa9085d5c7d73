package gateway

import (
	"context"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver"
)

// refitPause is the time between two attempts to give a driver new processes.
const refitPause = time.Minute

// refit finds drivers whose processes may not do what they now have to: a link with
// another port was configured, or an adapter was plugged in again, which is another file
// than the one that the process was given. A process cannot be given more than it
// started with, so the driver gets new processes of the same version, by an upgrade.
func (g *gateway) refit() {
	for kind := range g.inForce.Load().states {
		why := g.misfit(kind)
		if why == "" || !g.running(kind) || !g.mayRefit(kind) {
			continue
		}
		g.o.Log.Info("driver gets new processes", "driver", kind, "err", why)
		g.background(func(ctx context.Context) {
			err := g.launcher.renew(ctx, kind, g.drivers.Upgrade)
			if err != nil && ctx.Err() == nil && driver.CodeOf(err) != driver.Busy { // with an upgrade, which does the same
				g.o.Log.Warn("give a driver new processes", "driver", kind, "err", err)
			}
		})
	}
}

func (g *gateway) mayRefit(kind string) bool {
	g.upgrades.mu.Lock()
	defer g.upgrades.mu.Unlock()
	if g.upgrades.refit == nil {
		g.upgrades.refit = make(map[string]time.Time)
	}
	if time.Now().Before(g.upgrades.refit[kind]) {
		return false
	}
	g.upgrades.refit[kind] = time.Now().Add(refitPause)
	return true
}

// misfit tells why the processes of a driver cannot do what they have to; empty: they
// can.
func (g *gateway) misfit(kind string) string {
	for _, p := range g.fleet.of(kind) {
		if p.ByHand || p.Policy.Mode == confine.Off {
			continue
		}
		if stale := p.Confinement.Stale(); len(stale) > 0 {
			return "another file than it was given is at " + strings.Join(stale, ", ")
		}
		if want, err := g.launcher.policy(kind); err == nil && digest(&want) != digest(&p.Policy) {
			return "its configuration needs other rights"
		}
	}
	return ""
}
