package config

import (
	"encoding/json"
	"slices"
)

// The keys of a device that are the gateway's; all others are its driver's.
var deviceKeys = []string{"template", "points"}

// A deviceDef is one device as it is written, which a range makes many of.
type deviceDef struct {
	source *source
	points *pointSet
	raw    json.RawMessage // the settings, where they are the same for all
}

// linkDevices builds the devices of one link.
func (b *linkBuilder) linkDevices(d *linkDef, l *Link, s scope) {
	if most := b.budget.limits.devices; !b.budget.use(&b.budget.devices, len(d.devices), most) {
		b.add(d.source.place, d.source.trail.String(), "makes more than %d devices in all: make the ranges smaller", most)
		return
	}
	l.Devices = make([]*Device, 0, len(d.devices))
	defs := b.deviceDefs(d)
	for _, one := range d.devices {
		if b.budget.full {
			return
		}
		def := defs[one.chain]
		scope := s.withDevice(one.count)
		l.Devices = append(l.Devices, &Device{
			Name:     one.name,
			Settings: b.settings.raw(def.source.settings, &def.raw, scope),
			Table:    b.points.table(def, d, scope),
			source:   def.source,
		})
	}
}

// deviceDefs defines the devices of a link, once for all the links of a range.
func (b *linkBuilder) deviceDefs(d *linkDef) map[*chain]*deviceDef {
	if d.defs != nil {
		return d.defs
	}
	d.defs = map[*chain]*deviceDef{}
	for _, one := range d.devices {
		if d.defs[one.chain] == nil {
			d.defs[one.chain] = b.deviceDef(one.chain)
		}
	}
	return d.defs
}

func (b *linkBuilder) deviceDef(c *chain) *deviceDef {
	var layers []*node
	for _, n := range c.values() {
		if n.kind != kindMap {
			b.wrongKind(n, "a map with the device's keys, such as {template: NAME}")
		}
		for _, layer := range b.templates.layers(n) {
			if !slices.Contains(layers, layer) {
				layers = append(layers, layer)
			}
		}
	}
	def := &deviceDef{source: &source{place: c.place, trail: c.value.trail, settings: settings(layers, deviceKeys)}}
	var maps *chain
	for _, n := range layers {
		points := n.get("points")
		b.checkPoints(points)
		if len(points.mapFields()) > 0 {
			maps = b.expander.chains.over(maps, points, points.place)
		}
	}
	def.points = b.points.set(maps)
	def.source.points = def.points.sources
	return def
}
