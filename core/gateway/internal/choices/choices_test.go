package choices_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

func TestChoicesAreKeptAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d, err := datadir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := choices.Open(d.DB)
	if err != nil {
		t.Fatal(err)
	}
	before := b.Get()
	if err := b.Change(func(c *choices.Choices) {
		c.Disabled["modbus"], c.Offline["a/b"], c.Levels["mqtt"], c.Previous["mqtt"] = at, at, "debug", "1.0"
	}); err != nil {
		t.Fatal(err)
	}
	if len(before.Disabled) != 0 {
		t.Error("what was read before changed afterwards")
	}
	want := b.Get()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Change(func(c *choices.Choices) { c.Disabled["x"] = at }); err == nil || b.Get() != want {
		t.Errorf("a choice that could not be stored is in force, %v", err)
	}
	if d, err = datadir.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	again, err := choices.Open(d.DB)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.Get()); diff != "" {
		t.Error(diff)
	}
}

func TestMarkAndSince(t *testing.T) {
	at, later := time.Unix(1, 0), time.Unix(2, 0)
	c := (&choices.Choices{Offline: map[string]time.Time{"a": at, "b/m1": later, "gone": at}, Resting: map[string]time.Time{"mqtt": later}}).Clone()
	link := func(name string) control.Link {
		return control.Link{Name: name, Devices: []control.Device{{Name: "m1"}, {Name: "m2"}}}
	}
	states := map[string]*control.State{"modbus": {Links: []control.Link{link("a"), link("b")}}, "mqtt": {Links: []control.Link{link("c")}}}
	c.Mark(states)
	var got []string
	for _, driverName := range []string{"modbus", "mqtt"} {
		for _, l := range states[driverName].Links {
			if l.Offline {
				got = append(got, l.Name)
			}
			for _, d := range l.Devices {
				if d.Offline {
					got = append(got, l.Name+"/"+d.Name)
				}
			}
		}
	}
	if diff := cmp.Diff([]string{"a", "b/m1", "c"}, got); diff != "" {
		t.Error(diff)
	}
	for _, q := range []struct {
		driver, name string
		want         time.Time
	}{{"modbus", "a", at}, {"modbus", "a/m2", at}, {"modbus", "b", time.Time{}}, {"modbus", "b/m1", later}, {"modbus", "b/m2", time.Time{}}, {"mqtt", "c/m1", later}} {
		if since := c.Since(q.driver, inforce.ParseTarget(q.name)); !since.Equal(q.want) {
			t.Errorf("%s is off line since %v, want %v", q.name, since, q.want)
		}
	}
}
