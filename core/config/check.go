package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fieldloom/fieldloom/core/control"
)

// Check validates every driver's settings and addresses against its JSON
// Schemas, by the drivers' names. It connects to nothing. Where a placeholder
// made a number and the schema wants a text, it makes the setting a text; so it
// is to be called before the configuration is used. installed names drivers that no
// link uses, for messages. An error is of type Errors.
func (c *Config) Check(drivers map[string]control.Description, installed ...string) error {
	k := checker{
		dir: c.DriversDir, installed: installed, warnings: &faults{files: c.names},
		faults: &faults{files: c.names, seen: maps.Clone(c.wrong)}, drivers: drivers, schemas: map[string]*schemas{},
		settings: map[*byte]bool{}, tables: map[checkedTable]bool{},
	}
	for _, l := range c.Links {
		s := k.driver(l)
		if s == nil {
			continue
		}
		l.Settings = k.check(s.link, l.source, l.Settings)
		for _, d := range l.Devices {
			d.Settings = k.check(s.device, d.source, d.Settings)
			k.addresses(s, d)
		}
	}
	_ = k.warnings.err() // sorts them
	c.doubts = k.warnings.list
	return k.err()
}

type checker struct {
	*faults
	warnings  *faults
	dir       string // in which drivers were looked for
	installed []string
	drivers   map[string]control.Description
	schemas   map[string]*schemas
	settings  map[*byte]bool // that devices share and were checked
	tables    map[checkedTable]bool
}

type checkedTable struct {
	schemas *schemas
	table   *control.Table
}

// schemas are one driver's, compiled.
type schemas struct{ link, device, address *schema }

type schema struct {
	*jsonschema.Schema        // nil: takes no keys, or any address
	driver             string // for messages
	own                []string
}

func (k *checker) driver(l *Link) *schemas {
	if s, known := k.schemas[l.Driver]; known {
		return s
	}
	d, found := k.drivers[l.Driver]
	if !found {
		names := slices.Clone(k.installed)
		for name := range k.drivers {
			names = append(names, name)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		hint := use(names)
		if len(names) == 0 {
			hint = "no driver was found" + in(k.dir) + ": install its package with `fieldloom driver install`, or set `drivers:` to the directory that has it"
		}
		n := l.source.driver
		k.add(n.place, n.trail.String(), "there is no driver %q%s: %s", l.Driver, suggest(l.Driver, names), hint)
		return nil
	}
	s, err := compileAll(l.Driver, d)
	if err != nil {
		k.add(l.source.driver.place, l.source.driver.trail.String(), "%s", err)
	}
	k.schemas[l.Driver] = s
	return s
}

func in(dir string) string {
	if dir == "" {
		return ""
	}
	return " in " + dir
}

func compileAll(name string, d control.Description) (*schemas, error) {
	s := &schemas{
		link: &schema{driver: name, own: linkKeys}, device: &schema{driver: name, own: deviceKeys}, address: &schema{driver: name},
	}
	for _, one := range []struct {
		what string
		raw  json.RawMessage
		to   *schema
	}{{"a link", d.LinkSchema, s.link}, {"a device", d.DeviceSchema, s.device}, {"an address", d.AddressSchema, s.address}} {
		compiled, err := compile(one.raw)
		if err != nil {
			text := strings.Join(strings.Fields(err.Error()), " ")
			return nil, fmt.Errorf("the driver %s has a wrong JSON Schema of %s: tell its author: %s", name, one.what, text)
		}
		one.to.Schema = compiled
	}
	return s, nil
}

// check validates settings and returns them, with numbers made texts.
func (k *checker) check(s *schema, src *source, raw json.RawMessage) json.RawMessage {
	if k.settings[&raw[0]] {
		return raw
	}
	k.settings[&raw[0]] = true
	if s.Schema == nil {
		for _, f := range src.settings {
			k.unknown(s, f, f.key, nil)
		}
		return raw
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		k.add(src.place, src.trail.String(), "the settings cannot be read: %s", err)
		return raw
	}
	err = s.Validate(value)
	if err != nil && retype(value, src.settings, err) {
		if raw, err = json.Marshal(value); err == nil {
			err = s.Validate(value)
		}
	}
	k.report(s, src, value, err)
	k.placeholders(s, src)
	return raw
}

// report finds the places of what a schema does not allow.
func (k *checker) report(s *schema, src *source, value any, err error) {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		if err != nil {
			k.add(src.place, src.trail.String(), "%s", err)
		}
		return
	}
	for _, leaf := range leaves(invalid) {
		k.complain(s, src, value, leaf)
	}
}

// addresses validates the points of a device. Devices that share the table are
// right or wrong together.
func (k *checker) addresses(s *schemas, d *Device) {
	key := checkedTable{s, d.Table}
	if k.tables[key] {
		return
	}
	k.tables[key] = true
	for i := range d.Table.Points {
		k.address(s.address, d.Table.Points[i].Address, d.source.points[i])
	}
}

// address validates one.
func (k *checker) address(s *schema, text string, src pointSource) {
	path := src.trail.at("address").String()
	if found := environment.FindString(text); found != "" {
		k.add(src.address, path, noEnvironment, found)
		return
	}
	if found := unknownBraces(text); found != "" && !s.describesBraces(nil) {
		k.warn(src.address, path, "%s", asItStands(found))
	}
	if s.Schema == nil || text == "" { // one that is missing was reported
		return
	}
	err := s.Validate(text)
	var invalid *jsonschema.ValidationError
	switch {
	case err == nil:
	case errors.As(err, &invalid):
		k.add(src.address, path, "%s", explainLeaf(s, leaves(invalid)[0], strconv.Quote(shorten(text))))
	default:
		k.add(src.address, path, "%s", err)
	}
}

// retype makes texts of the numbers that placeholders made where the schema
// wants texts. It reports whether it changed anything.
func retype(value any, fields []field, err error) bool {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return false
	}
	changed := false
	for _, leaf := range leaves(invalid) {
		n := at(fields, leaf.InstanceLocation)
		if wantsText(leaf) && n != nil && n.words != nil && n.words.isNumber() {
			changed = setText(value, leaf.InstanceLocation) || changed
		}
	}
	return changed
}

// setText replaces the number at a location with its text.
func setText(value any, location []string) bool {
	last := len(location) - 1
	for i, key := range location {
		switch v := value.(type) {
		case map[string]any:
			if number, ok := v[key].(json.Number); ok && i == last {
				v[key] = number.String()
				return true
			}
			value = v[key]
		case []any:
			index, err := strconv.Atoi(key)
			if err != nil || index < 0 || index >= len(v) {
				return false
			}
			if number, ok := v[index].(json.Number); ok && i == last {
				v[index] = number.String()
				return true
			}
			value = v[index]
		default:
			return false
		}
	}
	return false
}

// at returns the node at a location in settings, or nil.
func at(fields []field, location []string) *node {
	if len(location) == 0 {
		return nil
	}
	i := slices.IndexFunc(fields, func(f field) bool { return f.key == location[0] })
	if i < 0 {
		return nil
	}
	n := fields[i].value
	for _, key := range location[1:] {
		if n.kind == kindList {
			index, err := strconv.Atoi(key)
			if err != nil || index < 0 || index >= len(n.items) {
				return n
			}
			n = n.items[index]
		} else if sub := n.get(key); sub != nil {
			n = sub
		}
	}
	return n
}
