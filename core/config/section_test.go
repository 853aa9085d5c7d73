package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// history is a section as one would be added: what it says is kept here instead of in a field
// of Config.
type history struct {
	keep   time.Duration
	points int // those that there are to keep
}

func (h *history) section() *section {
	return &section{
		key:      "history",
		defaults: func(*Config) { h.keep = time.Hour },
		keys: []key[*Config]{
			{"keep", func(r *sectionReader, n *node, _ *Config) { h.keep = r.duration(n, scope{}, time.Minute, mostAge) }},
			{"format", func(r *sectionReader, n *node, _ *Config) { r.oneOf(n, scope{}, []string{"rows", "columns"}) }},
		},
		check: func(r *sectionReader, n *node) {
			for _, l := range r.cfg.Links {
				for _, d := range l.Devices {
					h.points += len(d.Table.Points)
				}
			}
			if n != nil && h.points == 0 {
				r.fault(n, "there is no point to keep: add one, or remove `history:`")
			}
		},
		fixed: func(old, next *Config) string { return differs("history", old.Gateway != next.Gateway) },
	}
}

const somePoints = "links: {l: {driver: bare, devices: {d: {points: {\"p[1..3]\": {address: a}}}}}}\n"

// A section that is in the list is read, has its defaults, and sees the links.
func TestSectionIsRead(t *testing.T) {
	for text, want := range map[string]history{
		somePoints:                             {keep: time.Hour, points: 3},
		somePoints + "history: {keep: 2d}":     {keep: 48 * time.Hour, points: 3},
		"links: {l: {driver: bare}}":           {keep: time.Hour},
		somePoints + "history: {format: rows}": {keep: time.Hour, points: 3},
	} {
		var h history
		if _, err := parseSections(h.section(), map[string][]byte{"fieldloom.yaml": []byte(text)}); err != nil || h != want {
			t.Errorf("%s\n%+v, %v; want %+v", text, h, err, want)
		}
	}
}

// What is wrong with a section is told as of any other, with its position, and the section is
// among what is known.
func TestSectionIsChecked(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"history: {kep: 2d}", `fieldloom.yaml:1:11: history.kep: unknown key (did you mean "keep"?): use one of format and keep`},
		{"history: 5", "fieldloom.yaml:1:10: history: wants a map with keep and format, but this is a whole number: write lines of `KEY: VALUE` below it"},
		{"history: {keep: 1s}", "fieldloom.yaml:1:17: history.keep: 1s is out of range: use 1m to 36500d"},
		{"histroy: {keep: 2d}", `fieldloom.yaml:1:1: histroy: unknown key (did you mean "history"?): use one of confine, data, detach, drivers, gateway, history, links, log, `},
		{"processes: {bare: {history: 1}}", "fieldloom.yaml:1:20: processes.bare.history: is about the whole gateway: move it out of `processes:`"},
	} {
		_, err := parseSections(new(history).section(), map[string][]byte{"fieldloom.yaml": []byte(tc.text + "\n" + somePoints)})
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
	for _, tc := range []struct{ name, text, want string }{
		{"links/a.yaml", "history: {}\n", "links/a.yaml:1:1: history: belongs in fieldloom.yaml: move it there"},
		{"fieldloom.yaml", "gateway: g\nhistory: {}\n", "fieldloom.yaml:2:10: history: there is no point to keep: add one, or remove `history:`"},
	} {
		files := map[string][]byte{"fieldloom.yaml": []byte("gateway: g\n"), "links/b.yaml": []byte("links: {l: {driver: bare}}\n")}
		files[tc.name] = []byte(tc.text)
		if _, err := parseSections(new(history).section(), files); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %s\n got %v\nwant %s", tc.name, tc.text, err, tc.want)
		}
	}
}

// What of the sections needs a restart is told in the order of the list.
func TestSectionsThatAreFixed(t *testing.T) {
	load := func(text string) *Config {
		c, err := Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := load("gateway: g")
	for text, want := range map[string][]string{
		"gateway: g": nil,
		"log: {level: warn}\norphan: 1h\nconfine: \"off\"\ntrust: t.yaml\nsecrets: s\nunsigned: allow-dev": nil,
		"data: other":    {"data"}, // and the socket, which is there
		"socket: other":  {"socket"},
		"drivers: other": {"drivers"},
		"spool: {max: 2GiB}\nlog: {format: json}\nsocket: s": {"socket", "spool", "log format"},
	} {
		if diff := cmp.Diff(want, old.Fixed(load(text))); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	list := append(slices.Clone(allSections), new(history).section())
	if diff := cmp.Diff([]string{"history"}, list.fixed(old, load("gateway: other"))); diff != "" {
		t.Error(diff)
	}
}

func parseSections(s *section, files map[string][]byte) (*Config, error) {
	return parseWith(append(slices.Clone(allSections), s), "", fromMap(files), defaultLimits())
}
