package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	minPeriod = time.Millisecond
	maxPeriod = 366 * 24 * time.Hour
	maxWait   = time.Hour
	// checkLimit bounds a driver's Check of one link, which does no I/O.
	checkLimit = 30 * time.Second
)

// Validate returns everything wrong with a state: what the engine itself cannot run,
// and what the driver says where it is a Checker. It connects to nothing.
func (e *Engine) Validate(ctx context.Context, s *control.State) ([]*driver.ConfigError, error) {
	if s == nil {
		return nil, driver.Errorf(driver.InvalidConfig, "there is no state")
	}
	c := &check{tables: map[tableUse][]*driver.ConfigError{}}
	links := map[string]bool{}
	for i := range s.Links {
		l := &s.Links[i]
		c.named(links, l.Name, driver.ConfigError{Link: l.Name}, "link")
		c.link(l)
	}
	c.handles(s)
	if len(c.faults) == 0 && e.checker != nil {
		for i := range s.Links {
			if err := c.ask(ctx, e, &s.Links[i]); err != nil {
				return nil, err
			}
		}
	}
	return c.faults, nil
}

// A check gathers faults.
type check struct {
	faults []*driver.ConfigError
	tables map[tableUse][]*driver.ConfigError
}

// tableUse is a table with the number of classes that it may refer to.
type tableUse struct {
	table   *control.Table
	classes int
}

func (c *check) add(at driver.ConfigError, format string, args ...any) {
	at.Text = fmt.Sprintf(format, args...)
	c.faults = append(c.faults, &at)
}

func (c *check) named(seen map[string]bool, name string, at driver.ConfigError, what string) {
	switch {
	case name == "":
		c.add(at, "a %s has no name", what)
	case seen[name]:
		c.add(at, "there are two %ss of this name", what)
	}
	seen[name] = true
}

func (c *check) link(l *control.Link) {
	at := driver.ConfigError{Link: l.Name}
	for _, t := range []struct {
		key   string
		value time.Duration
	}{{"timeout", l.Timeout}, {"gap", l.Gap}} {
		if t.value < 0 || t.value > maxWait {
			c.add(driver.ConfigError{Link: l.Name, Key: t.key}, "%v is not between 0 and %v", t.value, maxWait)
		}
	}
	c.settings(at, l.Settings)
	classes := map[string]bool{}
	for _, class := range l.Classes {
		in := driver.ConfigError{Link: l.Name, Key: "scan"}
		c.named(classes, class.Name, in, "scan class")
		if p := class.Period; p != 0 && (p < minPeriod || p > maxPeriod) {
			c.add(in, "the period of scan class %q is %v: give 0, or %v to %v", class.Name, p, minPeriod, maxPeriod)
		}
		if class.Policy > control.Latest {
			c.add(in, "scan class %q has a policy that is not known", class.Name)
		}
	}
	devices := map[string]bool{}
	for i := range l.Devices {
		d := &l.Devices[i]
		at.Device = d.Name
		c.named(devices, d.Name, at, "device")
		c.settings(at, d.Settings)
		c.table(at, d.Table, len(l.Classes))
	}
}

func (c *check) settings(at driver.ConfigError, settings json.RawMessage) {
	if len(settings) > 0 && !json.Valid(settings) {
		c.add(at, "the settings are not JSON")
	}
}

// table checks a table once for all devices that share it.
func (c *check) table(at driver.ConfigError, t *control.Table, classes int) {
	if t == nil {
		c.add(at, "the device has no table of points")
		return
	}
	use := tableUse{t, classes}
	faults, known := c.tables[use]
	if !known {
		own := &check{}
		names := make(map[string]bool, len(t.Points))
		for i := range t.Points {
			own.named(names, t.Points[i].Name, driver.ConfigError{Point: t.Points[i].Name}, "point")
			own.point(&t.Points[i], classes)
		}
		faults = own.faults
		c.tables[use] = faults
	}
	for _, f := range faults {
		own := *f
		own.Link, own.Device = at.Link, at.Device
		c.faults = append(c.faults, &own)
	}
}

func (c *check) point(p *control.Point, classes int) {
	at := func(key string) driver.ConfigError { return driver.ConfigError{Point: p.Name, Key: key} }
	if p.Class < 0 || p.Class >= classes {
		c.add(at("scan"), "there is no scan class %d", p.Class)
	}
	for _, n := range []struct {
		key   string
		value *float64
	}{{"scale", p.Scale}, {"offset", p.Offset}, {"deadband", p.Deadband}, {"min", p.Min}, {"max", p.Max}} {
		if n.value != nil && (math.IsNaN(*n.value) || math.IsInf(*n.value, 0)) {
			c.add(at(n.key), "%v is not a number to calculate with", *n.value)
		}
	}
	if p.Scale != nil && *p.Scale == 0 {
		c.add(at("scale"), "a scale of 0 makes every value the same")
	}
	if p.Deadband != nil && *p.Deadband < 0 {
		c.add(at("deadband"), "%v is negative", *p.Deadband)
	}
	if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
		c.add(at("min"), "the minimum %v is more than the maximum %v", *p.Min, *p.Max)
	}
}

// handles checks that no two points have the same handle.
func (c *check) handles(s *control.State) {
	type block struct {
		first, end uint64
		at         driver.ConfigError
	}
	var blocks []block
	for i := range s.Links {
		for j := range s.Links[i].Devices {
			d := &s.Links[i].Devices[j]
			if d.Table == nil || len(d.Table.Points) == 0 {
				continue
			}
			at := driver.ConfigError{Link: s.Links[i].Name, Device: d.Name}
			b := block{uint64(d.FirstHandle), uint64(d.FirstHandle) + uint64(len(d.Table.Points)), at}
			if b.first == 0 || b.end > math.MaxUint32 {
				c.add(at, "handles %d to %d are out of range", b.first, b.end-1)
			}
			blocks = append(blocks, b)
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(blocks); i++ {
		if blocks[i].first < blocks[i-1].end {
			c.add(blocks[i].at, "handle %d belongs to device %s/%s too", blocks[i].first, blocks[i-1].at.Link, blocks[i-1].at.Device)
		}
	}
}

// ask has the driver check a link. Check has no context, so one that hangs is
// left behind.
func (c *check) ask(ctx context.Context, e *Engine, l *control.Link) error {
	points := map[*control.Table][]driver.Point{}
	devices := make([]driver.DeviceConfig, len(l.Devices))
	for i := range l.Devices {
		d := &l.Devices[i]
		if points[d.Table] == nil {
			points[d.Table] = compile(d.Table).points
		}
		devices[i] = driver.DeviceConfig{Name: d.Name, Settings: d.Settings, Points: points[d.Table]}
	}
	timeout := l.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		answer <- guard(func() error {
			return e.checker.Check(driver.LinkConfig{Name: l.Name, Timeout: timeout, Gap: l.Gap, Settings: l.Settings}, devices)
		})
	}()
	select {
	case err := <-answer:
		for _, f := range driver.ConfigErrors(err) {
			c.faults = append(c.faults, &driver.ConfigError{Link: l.Name, Device: f.Device, Point: f.Point, Key: f.Key, Text: f.Text})
		}
		return nil
	case <-ctx.Done():
		return driver.Errorf(driver.Internal, "check link %s: the driver does not answer: %w", l.Name, ctx.Err())
	}
}
