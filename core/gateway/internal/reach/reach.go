// Package reach finds what the links of a configuration name: the endpoints that their drivers
// have to reach, as the drivers' manifests read them. The rights of a driver's processes are
// made of that, and what a driver may not reach is reported with its place.
package reach

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/pack"
)

// A Setting is one text in the settings of a link, or of one of its devices.
type Setting struct {
	Device string // empty: the link itself
	Key    string // of the settings, in which the text is
	Text   string
}

// Settings calls f for every text in the settings of a link and its devices that may be a
// path or a URL; all: for every text.
func Settings(l *config.Link, all bool, f func(Setting)) {
	texts(l.Settings, all, func(key, text string) { f(Setting{Key: key, Text: text}) })
	var before *byte // devices of one make share their settings
	for _, d := range l.Devices {
		if len(d.Settings) > 0 && &d.Settings[0] != before {
			before = &d.Settings[0]
			texts(d.Settings, all, func(key, text string) { f(Setting{Device: d.Name, Key: key, Text: text}) })
		}
	}
}

// texts looks only into settings with a slash, where not all are wanted: others have neither
// a URL nor a path.
func texts(raw json.RawMessage, all bool, f func(key, text string)) {
	var settings map[string]any
	if !all && !bytes.ContainsRune(raw, '/') || json.Unmarshal(raw, &settings) != nil {
		return
	}
	for key, value := range settings {
		eachText(value, func(text string) { f(key, text) })
	}
}

// eachText calls f for every text of a JSON value.
func eachText(value any, f func(text string)) {
	switch v := value.(type) {
	case string:
		f(v)
	case []any:
		for _, item := range v {
			eachText(item, f)
		}
	case map[string]any:
		for _, item := range v {
			eachText(item, f)
		}
	}
}

// Endpoints calls f for every setting of a link that names something, or is meant to and
// cannot (err). The path of a device or of a Unix socket counts as an endpoint over that.
func Endpoints(l *config.Link, m *pack.Manifest, f func(s Setting, e pack.Endpoint, err error)) {
	_, all := m.Endpoints[pack.HostPort]
	Settings(l, all, func(s Setting) {
		e, err := m.Endpoint(s.Text)
		if filepath.IsAbs(s.Text) {
			e.Over = overOf(e.Path)
		}
		if err != nil || e.Over != "" {
			f(s, e, err)
		}
	})
}

// overOf is on which way what lies at a path is reached.
func overOf(path string) pack.Over {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Mode()&os.ModeSocket != 0:
		return pack.OverUnix
	case err == nil && info.Mode()&os.ModeCharDevice != 0, err != nil && strings.HasPrefix(path, "/dev/"):
		return pack.OverSerial
	}
	return pack.OverFile
}

// maxFaults bounds the faults of a configuration that is wrong throughout.
const maxFaults = 500

// A Look is what is wrong with what the links of one driver name, at its places.
type Look struct {
	Faults config.Errors // what the driver may not reach
	Doubts config.Errors // what it may not be able to reach: its manifest does not say
}

// Check looks at all links of a driver but those that before, which may be nil, has just the
// same: what is in force stays so when a package changes. A driver that is not confined
// reaches everything.
func Check(c *config.Config, driverName string, m *pack.Manifest, before *config.Config) (found Look) {
	mode := c.Process(driverName).Confine
	if mode == config.ConfineOff {
		return found
	}
	old, told := byName(before), make(map[driver.Place]bool)
	for _, l := range c.Links {
		if l.Driver != driverName || same(old[l.Name], l) {
			continue
		}
		Endpoints(l, m, func(s Setting, e pack.Endpoint, err error) {
			if err == nil {
				err = refusal(m, s, e, mode)
			}
			if err == nil || len(told) >= maxFaults {
				return
			}
			fault := c.Locate(driverName, &driver.ConfigError{Link: l.Name, Device: s.Device, Key: s.Key, Text: err.Error()})
			switch place := (driver.Place{File: fault.File, Line: fault.Line, Column: fault.Column}); {
			case told[place]: // a range has many links at one place
			case m.Endpoints == nil:
				told[place], found.Doubts = true, append(found.Doubts, fault)
			default:
				told[place], found.Faults = true, append(found.Faults, fault)
			}
		})
	}
	slices.SortFunc(found.Faults, compare) // settings are looked through in any order
	slices.SortFunc(found.Doubts, compare)
	return found
}

var (
	errAnyPort = errors.New("it has no port, and the driver's package does not say which it means: the driver may connect to every TCP port: write the port, or install a package that names its endpoints")
	errNoPort  = errors.New("it has no port, and the driver's package does not say which it means: with `confine: required` the driver may connect to none: write the port, or install a package that names its endpoints")
)

// refusal is why a driver may not reach an endpoint, or why that is not sure.
func refusal(m *pack.Manifest, s Setting, e pack.Endpoint, mode config.Confinement) error {
	if filepath.IsAbs(s.Text) && !isThere(e.Path) {
		return nil // it may be anything, as a topic is
	}
	if err := m.Wants.Allows(e); err != nil {
		return err
	}
	switch {
	case !e.Unsaid():
		return nil
	case mode == config.ConfineRequired:
		return errNoPort
	}
	return errAnyPort
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func byName(c *config.Config) map[string]*config.Link {
	all := make(map[string]*config.Link)
	if c != nil {
		for _, l := range c.Links {
			all[l.Name] = l
		}
	}
	return all
}

// same reports whether two links of a name have the same settings; old may be nil.
func same(old, l *config.Link) bool {
	return old != nil && old.Driver == l.Driver && bytes.Equal(old.Settings, l.Settings) &&
		slices.EqualFunc(old.Devices, l.Devices, func(a, b *config.Device) bool { return a.Name == b.Name && bytes.Equal(a.Settings, b.Settings) })
}

func compare(a, b *driver.ConfigError) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Text, b.Text))
}
