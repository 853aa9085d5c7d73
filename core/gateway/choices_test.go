package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestChoicesAreKeptAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openChoices(d.db)
	if err != nil {
		t.Fatal(err)
	}
	before := b.get()
	if err := b.change(func(c *choices) {
		c.Disabled["modbus"], c.Offline["a/b"], c.Levels["mqtt"], c.Previous["mqtt"] = at, at, "debug", "1.0"
	}); err != nil {
		t.Fatal(err)
	}
	if len(before.Disabled) != 0 {
		t.Error("what was read before changed afterwards")
	}
	want := b.get()
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if err := b.change(func(c *choices) { c.Disabled["x"] = at }); err == nil || b.get() != want {
		t.Errorf("a choice that could not be stored is in force, %v", err)
	}
	if d, err = openData(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	again, err := openChoices(d.db)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.get()); diff != "" {
		t.Error(diff)
	}
}

func TestMarkAndSince(t *testing.T) {
	at, later := time.Unix(1, 0), time.Unix(2, 0)
	c := (&choices{Offline: map[string]time.Time{"a": at, "b/m1": later, "gone": at}, Resting: map[string]time.Time{"mqtt": later}}).clone()
	link := func(name string) control.Link {
		return control.Link{Name: name, Devices: []control.Device{{Name: "m1"}, {Name: "m2"}}}
	}
	states := map[string]*control.State{"modbus": {Links: []control.Link{link("a"), link("b")}}, "mqtt": {Links: []control.Link{link("c")}}}
	c.mark(states)
	var got []string
	for _, kind := range []string{"modbus", "mqtt"} {
		for _, l := range states[kind].Links {
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
		kind, name string
		want       time.Time
	}{{"modbus", "a", at}, {"modbus", "a/m2", at}, {"modbus", "b", time.Time{}}, {"modbus", "b/m1", later}, {"modbus", "b/m2", time.Time{}}, {"mqtt", "c/m1", later}} {
		if since := c.since(q.kind, inforce.ParseLine(q.name)); !since.Equal(q.want) {
			t.Errorf("%s is off line since %v, want %v", q.name, since, q.want)
		}
	}
}

func TestOfflineLinesOfADriverThatRests(t *testing.T) {
	a := plant()
	c := (&choices{Resting: map[string]time.Time{"modbus": time.Unix(1, 0)}, Offline: map[string]time.Time{"old": time.Unix(1, 0)}}).clone()
	if _, _, err := offlineLines(a, c, client.LineRequest{Names: []string{"line1"}}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a link of a driver that is off line: %v", err)
	}
	if _, lines, err := offlineLines(a, c, client.LineRequest{Driver: "modbus"}); err != nil || len(lines) != 1 {
		t.Errorf("the driver: %v, %v", lines, err)
	}
	if _, _, err := offlineLines(a, c, client.LineRequest{Driver: "mqtt"}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a driver that is on line: %v", err)
	}
	if _, _, err := offlineLines(a, c, client.LineRequest{Names: []string{"old"}}); driver.CodeOf(err) != driver.NotFound {
		t.Errorf("a link that is not configured any more: %v", err)
	}
	results, lines, err := offlineLines(a, c, client.LineRequest{Names: []string{"line2"}})
	if err != nil || len(lines) != 0 || len(results) != 1 {
		t.Errorf("a link that is on line: %v, %v, %v", results, lines, err)
	}
}

// What a restart is needed for is refused, and all of it is told.
func TestFixedKeys(t *testing.T) {
	old := &config.Config{DataDir: "a", DriversDir: "a", Socket: "a/s"}
	for _, c := range []struct {
		next     config.Config
		stranded string
		want     []string
	}{
		{next: *old},
		{next: config.Config{DataDir: "b", DriversDir: "b", Socket: "b/s"}, want: []string{"data", "drivers"}}, // the socket went with the data
		{next: config.Config{DataDir: "a", DriversDir: "a", Socket: "b/s"}, want: []string{"socket"}},
		{next: *old, stranded: "acme", want: []string{"processes.acme.user"}},
	} {
		var keys []string
		if err := fixed(old, &c.next, c.stranded); err != nil {
			for _, line := range configError(err).Lines() {
				key, _, _ := strings.Cut(strings.TrimPrefix(line, "fieldloom.yaml: "), ":")
				keys = append(keys, key)
			}
		}
		if !slices.Equal(keys, c.want) {
			t.Errorf("%+v, %s: %v, want %v", c.next, c.stranded, keys, c.want)
		}
	}
}
