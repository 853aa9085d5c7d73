package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// drainedIn is how long a link may take to be drained before the command returns
	// without waiting for it.
	drainedIn = 10 * time.Second
	lookEvery = 50 * time.Millisecond
	// upIn is how long a line that was brought on line without a check may take to come up.
	upIn = 20 * time.Second
	// checksAtATime bounds the health checks of one command.
	checksAtATime = 16
)

// line is a link, or one device of it.
type line struct{ link, device string }

func parseLine(name string) line {
	link, device, _ := strings.Cut(name, "/")
	return line{link, device}
}

func (l line) String() string {
	if l.device == "" {
		return l.link
	}
	return l.link + "/" + l.device
}

// find looks up the link of a line, and its device.
func (a *adopted) findLine(l line) (*config.Link, error) {
	for _, link := range a.Links {
		if link.Name != l.link {
			continue
		}
		if l.device == "" || slices.ContainsFunc(link.Devices, func(d *config.Device) bool { return d.Name == l.device }) {
			return link, nil
		}
		return nil, driver.Errorf(driver.NotFound, "%s: link %s has no device %s", l, l.link, l.device)
	}
	return nil, driver.Errorf(driver.NotFound, "%s: there is no link %s", l, l.link)
}

// linesOf returns the links of a driver.
func (a *adopted) linesOf(kind string) []line {
	var list []line
	for _, l := range a.Links {
		if l.Driver == kind {
			list = append(list, line{link: l.Name})
		}
	}
	return list
}

// mark sets in states what the operator has taken off line.
func (c *choices) mark(states map[string]*control.State) {
	for kind, state := range states {
		_, resting := c.Resting[kind]
		for i := range state.Links {
			l := &state.Links[i]
			_, l.Offline = c.Offline[l.Name]
			l.Offline = l.Offline || resting
			for j := range l.Devices {
				_, l.Devices[j].Offline = c.Offline[l.Name+"/"+l.Devices[j].Name]
			}
		}
	}
}

// since tells since when a line is off line, by itself, its link or its driver; zero:
// it is not.
func (c *choices) since(kind string, l line) time.Time {
	if at, ok := c.Resting[kind]; ok {
		return at
	}
	if at, ok := c.Offline[l.link]; ok {
		return at
	}
	return c.Offline[l.String()]
}

// Offline implements api.Gateway.
func (g *gateway) Offline(ctx context.Context, r client.LineRequest) ([]client.LineResult, error) {
	lines, err := g.takeOffline(r)
	if err != nil {
		return nil, err
	}
	open := g.awaitDrained(ctx, lines)
	if r.Driver != "" {
		g.o.Log.Warn("taken off line by the operator", "driver", r.Driver)
		return []client.LineResult{{Name: r.Driver, Since: g.choices.get().Resting[r.Driver],
			Text: "off line with " + linkCount(len(lines)) + stillOpen(len(open) > 0)}}, nil
	}
	results := make([]client.LineResult, len(lines))
	for i, l := range lines {
		g.o.Log.Warn("taken off line by the operator", "link", l.link, "device", l.device)
		results[i] = client.LineResult{Name: l.String(), Since: g.choices.get().Offline[l.String()], Text: "off line" + stillOpen(slices.Contains(open, l))}
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
func (g *gateway) takeOffline(r client.LineRequest) ([]line, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	lines, err := g.inForce.Load().linesFor(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return lines, g.rechoose(func(c *choices) {
		if r.Driver != "" {
			keepTime(c.Resting, r.Driver, now)
			return
		}
		for _, l := range lines {
			keepTime(c.Offline, l.String(), now)
		}
	})
}

// keepTime notes a time, unless there is an earlier one.
func keepTime(times map[string]time.Time, name string, now time.Time) {
	if _, there := times[name]; !there {
		times[name] = now
	}
}

// linesFor resolves a request wholly, or not at all.
func (a *adopted) linesFor(r client.LineRequest) ([]line, error) {
	if r.Driver != "" {
		lines := a.linesOf(r.Driver)
		if len(lines) == 0 {
			return nil, driver.Errorf(driver.NotFound, "no link uses a driver %s", r.Driver)
		}
		return lines, nil
	}
	var lines []line
	for _, name := range r.Names {
		l := parseLine(name)
		if _, err := a.findLine(l); err != nil {
			return nil, err
		}
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// rechoose changes the choices and puts them in force. The caller holds reloading.
func (g *gateway) rechoose(f func(c *choices)) error {
	before := g.choices.get()
	if err := g.choices.change(f); err != nil {
		return err
	}
	a := g.inForce.Load()
	_, err := g.adopt(a.Config, a.unready)
	if err == nil {
		return nil
	}
	// It is not in force, so it must not come into force at the next start either.
	if kept := g.choices.change(func(c *choices) { *c = *before.clone() }); kept != nil {
		return client.Unconfirmed("it is kept and not in force: %v; and it cannot be taken back: %v: see `fieldloom status` after the next reload", err, kept)
	}
	return err
}

// awaitDrained waits until nothing of the lines is open any more, and returns those of
// which it is not known after a while.
func (g *gateway) awaitDrained(ctx context.Context, lines []line) (open []line) {
	ctx, cancel := context.WithTimeout(ctx, drainedIn)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if open = g.open(ctx, lines); len(open) == 0 {
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
func (g *gateway) conditions(ctx context.Context) map[line]condition {
	all := make(map[line]condition)
	for _, d := range g.drivers.Status(ctx) {
		if d.Engine == nil {
			continue
		}
		for i := range d.Engine.Links {
			l := &d.Engine.Links[i]
			all[line{link: l.Name}] = condition{l.Condition, l.Cause}
			for j := range l.Devices {
				all[line{l.Name, l.Devices[j].Name}] = condition{l.Devices[j].Condition, l.Devices[j].Cause}
			}
		}
	}
	return all
}

// open returns the lines that are open, or of which it is not known because their driver
// does not answer.
func (g *gateway) open(ctx context.Context, lines []line) (open []line) {
	all := g.conditions(ctx)
	var silent map[string]bool
	for _, l := range lines {
		c, known := all[l]
		if !known && silent == nil {
			silent = g.silent(ctx)
		}
		if known && c.is != control.Stopped && c.is != control.NotStarted || !known && silent[g.driverOf(l)] {
			open = append(open, l)
		}
	}
	return open
}

// silent is the drivers that run and do not answer.
func (g *gateway) silent(ctx context.Context) map[string]bool {
	kinds := make(map[string]bool)
	for _, d := range g.drivers.Status(ctx) {
		kinds[d.Kind] = d.PID != 0 && d.Engine == nil
	}
	return kinds
}

// driverOf is the driver of a line; empty: there is no such line now.
func (g *gateway) driverOf(l line) string {
	if link, err := g.inForce.Load().findLine(l); err == nil {
		return link.Driver
	}
	return ""
}

// offlineList is everything that is off line, for the status.
func (c *choices) offlineList() []client.LineResult {
	var list []client.LineResult
	for _, kind := range slices.Sorted(maps.Keys(c.Resting)) {
		list = append(list, client.LineResult{Name: "driver " + kind, Since: c.Resting[kind], Text: "with all its links"})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Offline)) {
		list = append(list, client.LineResult{Name: name, Since: c.Offline[name]})
	}
	return list
}

// dropOffline drops what the operator took off line and the configuration does not have
// any more: should it come back, it is another's.
func (g *gateway) dropOffline(a *adopted) error {
	var lines, kinds []string
	now := g.choices.get()
	for _, name := range slices.Sorted(maps.Keys(now.Offline)) {
		if _, err := a.findLine(parseLine(name)); err != nil {
			lines = append(lines, name)
			g.o.Log.Warn("what was off line is not configured any more: the choice is dropped", "link", parseLine(name).link, "device", parseLine(name).device)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(now.Resting)) {
		if a.states[kind] == nil {
			kinds = append(kinds, kind)
			g.o.Log.Warn("no link uses a driver that was off line: the choice is dropped", "driver", kind)
		}
	}
	if lines == nil && kinds == nil {
		return nil
	}
	return g.choices.change(func(c *choices) {
		maps.DeleteFunc(c.Offline, func(name string, _ time.Time) bool { return slices.Contains(lines, name) })
		maps.DeleteFunc(c.Resting, func(kind string, _ time.Time) bool { return slices.Contains(kinds, kind) })
	})
}
