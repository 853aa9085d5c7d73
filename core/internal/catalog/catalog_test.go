package catalog_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

// The configuration that the tests change, line by line.
const plant = `
templates:
  meter:
    points:
      reg[1..3]: {address: "r{n}", unit: V}
      temp: {address: t}
links:
  line1:
    driver: modbus
    devices:
      m[1..4]: {template: meter}
  line2:
    driver: mqtt
    devices:
      empty: {}
      m1: {template: meter, points: {own: {address: o, unit: A}}}
`

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openDB(t testing.TB, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func open(t testing.TB, db *bolt.DB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func states(t testing.TB, c *catalog.Catalog, text string) map[string]*control.State {
	t.Helper()
	s, err := c.States(parse(t, text), 7)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// firsts lists the first handle of every device.
func firsts(s map[string]*control.State) map[string]uint32 {
	m := map[string]uint32{}
	for _, state := range s {
		for _, l := range state.Links {
			for _, d := range l.Devices {
				m[l.Name+"/"+d.Name] = d.FirstHandle
			}
		}
	}
	return m
}

func TestStates(t *testing.T) {
	c := open(t, openDB(t, filepath.Join(t.TempDir(), "state.db")))
	s := states(t, c, plant)
	want := map[string]uint32{
		"line1/m1": 1, "line1/m2": 5, "line1/m3": 9, "line1/m4": 13, "line2/empty": 0, "line2/m1": 17,
	}
	if diff := cmp.Diff(want, firsts(s)); diff != "" {
		t.Error(diff)
	}
	if len(s) != 2 || s["modbus"].Revision != 7 || len(s["mqtt"].Links) != 1 {
		t.Errorf("states %v", s)
	}
	line1 := s["modbus"].Links[0]
	if line1.Devices[0].Table != line1.Devices[3].Table {
		t.Error("devices with the same points do not share the table")
	}
	if line1.Timeout != time.Second || len(line1.Classes) != 1 {
		t.Errorf("link %+v", line1)
	}
}

func TestLookup(t *testing.T) {
	c := open(t, openDB(t, filepath.Join(t.TempDir(), "state.db")))
	states(t, c, plant)
	for handle, want := range map[uint32]catalog.Path{
		1:  {"line1", "m1", "reg1", "V"},
		4:  {"line1", "m1", "temp", ""},
		5:  {"line1", "m2", "reg1", "V"},
		16: {"line1", "m4", "temp", ""},
		21: {"line2", "m1", "own", "A"},
	} {
		if got, ok := c.Lookup(handle); !ok || got != want {
			t.Errorf("Lookup(%d) = %v, %v, want %v", handle, got, ok, want)
		}
		if got, ok := c.Find(want.Link, want.Device, want.Point); !ok || got != handle {
			t.Errorf("Find(%v) = %d, %v, want %d", want, got, ok, handle)
		}
	}
	for _, handle := range []uint32{0, 22, 1 << 31, 1<<32 - 1} {
		if got, ok := c.Lookup(handle); ok {
			t.Errorf("Lookup(%d) = %v", handle, got)
		}
	}
	for _, path := range []string{"line1/m1/none", "line1/m9/reg1", "line9/m1/reg1", "line2/empty/reg1"} {
		p := strings.Split(path, "/")
		if got, ok := c.Find(p[0], p[1], p[2]); ok {
			t.Errorf("Find(%s) = %d", path, got)
		}
	}
}

func TestHandlesAreForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	more := strings.Replace(plant, "temp: {address: t}", "temp: {address: t, unit: K}\n      late: {address: x}", 1)
	moved := strings.Replace(plant, "address: t}", "address: elsewhere, unit: C}", 1)
	fewer := strings.Replace(plant, "m[1..4]", "m[3..5]", 1)
	steps := []struct {
		name, text string
		want       map[string]uint32
	}{
		{"first", plant, map[string]uint32{"line1/m1": 1, "line1/m3": 9, "line2/m1": 17}},
		{"again", plant, map[string]uint32{"line1/m1": 1, "line1/m3": 9, "line2/m1": 17}},
		{"another address and unit", moved, map[string]uint32{"line1/m1": 1, "line1/m3": 9, "line2/m1": 17}},
		{"a point more", more, map[string]uint32{"line1/m1": 22, "line1/m3": 32, "line2/m1": 42}},
		{"back", plant, map[string]uint32{"line1/m1": 1, "line1/m3": 9, "line2/m1": 17}},
		{"devices go and come", fewer, map[string]uint32{"line1/m3": 9, "line1/m5": 48, "line2/m1": 17}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) { // each with the data base opened anew
			c := open(t, openDB(t, path))
			got := firsts(states(t, c, step.text))
			for name, first := range step.want {
				if got[name] != first {
					t.Errorf("%s has %d, want %d", name, got[name], first)
				}
				p := strings.Split(name, "/")
				if found, ok := c.Find(p[0], p[1], "reg1"); !ok || found != first {
					t.Errorf("Find(%s/reg1) = %d, %v, want %d", name, found, ok, first)
				}
			}
		})
	}
	c := open(t, openDB(t, path))
	if got, _ := c.Lookup(2); got != (catalog.Path{Link: "line1", Device: "m1", Point: "reg2", Unit: "V"}) {
		t.Errorf("a removed device's handle is %v", got)
	}
	if got, _ := c.Lookup(26); got != (catalog.Path{Link: "line1", Device: "m1", Point: "late"}) {
		t.Errorf("a removed point's handle is %v", got)
	}
}

func TestUnitFollowsConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	t.Run("change", func(t *testing.T) {
		c := open(t, openDB(t, path))
		states(t, c, plant)
		states(t, c, strings.Replace(plant, "unit: V", "unit: mV", 1))
		if got, _ := c.Lookup(1); got.Unit != "mV" {
			t.Errorf("unit %q, want mV", got.Unit)
		}
	})
	c := open(t, openDB(t, path))
	if got, _ := c.Lookup(1); got.Unit != "mV" {
		t.Errorf("unit %q after a restart, want mV", got.Unit)
	}
}

func TestMatch(t *testing.T) {
	c := open(t, openDB(t, filepath.Join(t.TempDir(), "state.db")))
	states(t, c, plant)
	for _, tc := range []struct {
		patterns string
		want     string
	}{
		{"", "1-21"},
		{"line1", "1-16"},
		{"line1/", "1-16"},
		{"line1/m2", "5-8"},
		{"line1/m2/temp", "8-8"},
		{"*/m1", "1-4 17-21"},
		{"*/*/temp", "4-4 8-8 12-12 16-16 20-20"},
		{"line1/m[24]/reg[12] line2/*/own", "5-6 13-14 21-21"},
		{"line1/m1/reg1 line1/m1", "1-4"},
		{"line9", ""},
		{"line1/m1/reg1/x", ""},
		{"line[", ""},
		{"line[ line2/*/own", "21-21"},
	} {
		match := c.Match(strings.Fields(tc.patterns))
		if got := ranges(match, 25); got != tc.want {
			t.Errorf("%q matches %s, want %s", tc.patterns, got, tc.want)
		}
	}
}

func ranges(match func(uint32) bool, most uint32) string {
	var out []string
	for h := uint32(0); h <= most; h++ {
		if !match(h) {
			continue
		}
		first := h
		for match(h + 1) {
			h++
		}
		out = append(out, fmt.Sprintf("%d-%d", first, h))
	}
	return strings.Join(out, " ")
}

func TestMatchKnowsLaterHandles(t *testing.T) {
	c := open(t, openDB(t, filepath.Join(t.TempDir(), "state.db")))
	match := c.Match([]string{"line1/m5"})
	states(t, c, plant)
	if match(22) {
		t.Error("matches what is not there")
	}
	states(t, c, strings.Replace(plant, "m[1..4]", "m[1..5]", 1))
	if !match(22) {
		t.Error("does not match a handle that was given out later")
	}
}

func TestCheckPattern(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"": true, "a": true, "a/b/c": true, "a*/[bc]/?": true, "a/b/c/d": false, "[": false, "a/b/[x": false, `a\`: false,
	} {
		if err := catalog.CheckPattern(pattern); (err == nil) != ok {
			t.Errorf("CheckPattern(%q) = %v", pattern, err)
		}
	}
}

func TestUsedUp(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "state.db"))
	open(t, db)
	catalog.PutBlock(t, db, 1<<32-6, "line1", "old", "a", "b")
	c := open(t, db)
	if _, err := c.States(parse(t, plant), 1); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("error %v", err)
	}
	if _, ok := c.Find("line1", "m1", "reg1"); ok {
		t.Error("a failed assignment left handles")
	}
	if p, ok := c.Lookup(1<<32 - 5); !ok || p.Point != "b" {
		t.Errorf("Lookup = %v, %v", p, ok)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := open(t, openDB(t, filepath.Join(t.TempDir(), "state.db")))
	states(t, c, plant)
	match := c.Match([]string{"line1/m[12]", "line2"})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			_, err := c.States(parse(t, strings.Replace(plant, "m[1..4]", fmt.Sprintf("m[1..%d]", i+1), 1)), 1)
			if err != nil {
				t.Error(err)
			}
		}
	}()
	for i := uint32(0); ; i++ {
		select {
		case <-done:
			return
		default:
			match(i % 100)
			if p, ok := c.Lookup(i%16 + 1); !ok || p.Link != "line1" {
				t.Fatalf("Lookup = %v, %v", p, ok)
			}
		}
	}
}
