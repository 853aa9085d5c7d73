package config

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// The keys of a link that are the gateway's; all others are its driver's.
var linkKeys = []string{"template", "driver", "timeout", "gap", "scan", "devices"}

const (
	defaultTimeout = time.Second
	leastTimeout   = time.Millisecond
	mostTimeout    = 10 * time.Minute
	mostGap        = 10 * time.Minute
	defaultClass   = "default"
	defaultPeriod  = time.Second
	leastPeriod    = time.Millisecond
	mostPeriod     = 366 * 24 * time.Hour
	maxClasses     = 64
)

// The words of control.Policy, in its order.
var policies = []string{"drop_oldest", "slow", "latest"}

// A linkDef is one link as it is written, which a range makes many of.
type linkDef struct {
	layers  []*node
	source  *source
	scan    []field        // the scan classes
	classes map[string]int // their indices
	order   string         // their names in order: equal orders can share tables
	devices []named
	defs    map[*chain]*deviceDef
	raw     json.RawMessage // the settings, where they are the same for all
}

// A linkBuilder makes links of the entries of `links:`.
type linkBuilder struct {
	values
	templates *templates
	expander  *expander
	points    *pointBuilder
	settings  *settingsEncoder
	budget    *budget
	names     map[string]place
	links     []*Link
}

func newLinkBuilder(v values, t *templates, lim limits) *linkBuilder {
	b := &budget{limits: lim}
	e := &expander{values: v, chains: chains{}, budget: b}
	return &linkBuilder{
		values: v, templates: t, expander: e, budget: b, names: map[string]place{},
		points:   &pointBuilder{values: v, expander: e, budget: b, sets: map[*chain]*pointSet{}},
		settings: &settingsEncoder{values: v, seen: map[string]bool{}},
	}
}

// build makes the links of one entry, and leaves out those of which too little is
// right to check the rest.
func (b *linkBuilder) build(f field) {
	before := len(b.links)
	b.link(f)
	made := slices.DeleteFunc(b.links[before:], func(l *Link) bool {
		return l.Driver == "" || slices.ContainsFunc(l.Devices, func(d *Device) bool { return d.Table == nil })
	})
	b.links = b.links[:before+len(made)]
}

// link builds the links that one entry of `links:` stands for.
func (b *linkBuilder) link(f field) {
	s, err := parseSpan(f.key)
	if err != nil {
		b.faultAt(f, "%s", err)
		return
	}
	if f.value.kind != kindMap {
		b.wrongKind(f.value, "a map of the link's keys")
		return
	}
	if s.size() > int64(b.budget.limits.links-len(b.links)) {
		b.faultAt(f, "makes more than %d links in all: make the range smaller", b.budget.limits.links)
		b.budget.full = true
	}
	if b.budget.full {
		return
	}
	d := b.linkDef(f)
	for name, c := range s.names() {
		if first, twice := b.names[name]; twice {
			b.faultAt(f, "the link %s is already at %s:%d: rename or remove one", name, b.files[first.file], first.line)
			continue
		}
		b.names[name] = f.place
		b.links = append(b.links, b.oneLink(d, name, scope{}.withLink(c)))
		if b.budget.full {
			return
		}
	}
}

func (b *linkBuilder) linkDef(f field) *linkDef {
	layers := b.templates.layers(f.value)
	d := &linkDef{layers: layers}
	d.source = &source{place: f.place, trail: f.value.trail, settings: settings(layers, linkKeys), driver: last(layers, "driver")}
	b.scanClasses(d)
	var maps []*node
	for _, n := range layers {
		devices := n.get("devices")
		if b.entries(devices, "a map of devices by name") != nil {
			maps = append(maps, devices)
		}
	}
	d.devices = b.expander.expand(maps, "devices", b.budget.limits.devices)
	return d
}

// scanClasses numbers the classes; the default one is always the first.
func (b *linkBuilder) scanClasses(d *linkDef) {
	d.scan = []field{{key: defaultClass}}
	for _, n := range d.layers {
		for _, f := range b.entries(n.get("scan"), "a map of scan classes by name") {
			if err := checkName(f.key); err != nil {
				b.faultAt(f, "%s", err)
			}
			d.setClass(f)
		}
	}
	if len(d.scan) > maxClasses {
		b.add(d.source.place, d.source.trail.String(), "has %d scan classes: use at most %d", len(d.scan), maxClasses)
	}
	d.classes = make(map[string]int, len(d.scan))
	var order strings.Builder
	for i, f := range d.scan {
		d.classes[f.key] = i
		order.WriteString(f.key + "\n")
	}
	d.order = order.String()
}

func (d *linkDef) setClass(f field) {
	for i := range d.scan {
		if d.scan[i].key == f.key {
			d.scan[i] = f
			return
		}
	}
	d.scan = append(d.scan, f)
}

func (b *linkBuilder) oneLink(d *linkDef, name string, s scope) *Link {
	l := &Link{Name: name, Timeout: defaultTimeout, source: d.source}
	l.Driver = b.driver(d, s)
	if n := last(d.layers, "timeout"); n != nil {
		l.Timeout = b.duration(n, s, leastTimeout, mostTimeout)
	}
	if n := last(d.layers, "gap"); n != nil {
		l.Gap = b.duration(n, s, 0, mostGap)
	}
	for _, f := range d.scan {
		l.Classes = append(l.Classes, b.class(f, s))
	}
	l.Settings = b.settings.raw(d.source.settings, &d.raw, s)
	b.linkDevices(d, l, s)
	return l
}

func (b *linkBuilder) driver(d *linkDef, s scope) string {
	n := d.source.driver
	if n == nil {
		b.add(d.source.place, d.source.trail.String(), "has no driver: add `driver: NAME`")
		return ""
	}
	name := b.text(n, s)
	if name == "" && n.kind != kindText {
		return ""
	}
	if err := checkName(name); err != nil {
		b.fault(n, "%s", err)
	}
	return name
}

func (b *linkBuilder) class(f field, s scope) control.Class {
	c := control.Class{Name: f.key, Period: defaultPeriod}
	n := f.value
	if n == nil {
		return c
	}
	period := n
	if n.kind == kindMap {
		b.unknownKeys(n, []string{"period", "when_full"}, nil, "")
		period = n.get("period")
		if policy := n.get("when_full"); policy != nil {
			c.Policy = control.Policy(b.oneOf(policy, s, policies))
		}
	}
	switch {
	case period == nil && len(n.fields) > 0 && !n.only("period", "when_full"):
		// The unknown key is reported, and is likely to be a misspelt period.
	case period == nil && f.key != defaultClass:
		b.fault(n, "has no period: add `period:` with a duration such as 10s")
	case period != nil:
		c.Period = b.duration(period, s, 0, mostPeriod)
		if 0 < c.Period && c.Period < leastPeriod {
			b.fault(period, "the period is too short: use at least %s, or 0 to poll again as soon as the last poll has ended", leastPeriod)
		}
	}
	return c
}
