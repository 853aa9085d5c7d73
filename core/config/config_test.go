package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
)

func mustParse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func link(t testing.TB, c *config.Config, name string) *config.Link {
	t.Helper()
	for _, l := range c.Links {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no link %s", name)
	return nil
}

func device(t testing.TB, l *config.Link, name string) *config.Device {
	t.Helper()
	for _, d := range l.Devices {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no device %s", name)
	return nil
}

func point(t testing.TB, d *config.Device, name string) control.Point {
	t.Helper()
	for _, p := range d.Table.Points {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no point %s", name)
	return control.Point{}
}

func number(f float64) *float64 { return &f }

func TestLoadGateway(t *testing.T) {
	dir := filepath.Join("testdata", "plant")
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Dir, c.Gateway, c.DataDir, c.DriversDir, c.Socket, c.Spool, c.Log, c.Files, c.Drivers()}
	want := []any{
		dir, "plant-7", filepath.Join(dir, "data"), filepath.Join(dir, "bin/drivers"), filepath.Join(dir, "data/fieldloom.sock"),
		config.Spool{MaxBytes: 2 << 30, MaxAge: 7 * 24 * time.Hour}, config.Log{Level: slog.LevelDebug, Format: "json"},
		[]string{filepath.Join(dir, "fieldloom.yaml"), filepath.Join(dir, "links/line1.yaml"), filepath.Join(dir, "links/plc.yaml")},
		[]string{"modbus"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, "links: {l: {driver: bare}}")
	got := []any{c.Gateway, c.DataDir, c.DriversDir, c.Socket, c.Spool, c.Log, c.Files}
	want := []any{
		"fieldloom", "data", "", "data/fieldloom.sock", config.Spool{MaxBytes: 1 << 30, MaxAge: 7 * 24 * time.Hour},
		config.Log{Level: slog.LevelInfo, Format: "text"}, []string{"fieldloom.yaml"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	l := c.Links[0]
	if l.Timeout != time.Second || l.Gap != 0 || string(l.Settings) != "{}" || len(l.Devices) != 0 {
		t.Errorf("link %+v", l)
	}
	if diff := cmp.Diff([]control.Class{{Name: "default", Period: time.Second}}, l.Classes); diff != "" {
		t.Error(diff)
	}
}

func TestLinks(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "plant"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range c.Links {
		names = append(names, l.Name)
	}
	if diff := cmp.Diff([]string{"line1", "plc01", "plc02", "plc03"}, names); diff != "" {
		t.Fatal(diff)
	}
	l := link(t, c, "line1")
	if l.Driver != "modbus" || l.Timeout != 500*time.Millisecond || l.Gap != 5*time.Millisecond || len(l.Devices) != 1000 {
		t.Errorf("link %+v", l)
	}
	classes := []control.Class{
		{Name: "default", Period: time.Second}, {Name: "fast", Period: 100 * time.Millisecond},
		{Name: "slow", Period: 10 * time.Second, Policy: control.Slow},
	}
	if diff := cmp.Diff(classes, l.Classes); diff != "" {
		t.Error(diff)
	}
	if got := string(link(t, c, "plc02").Settings); got != `{"url":"tcp://127.0.0.1:20002"}` {
		t.Errorf("settings %s", got)
	}
	if got := link(t, c, "plc02").Classes[0].Period; got != 2*time.Second {
		t.Errorf("redefined default class %v", got)
	}
}

func TestDevices(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "plant"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ link, device, settings string }{
		{"line1", "m1", `{"order":"abcd","unit":1}`},
		{"line1", "m1000", `{"order":"abcd","unit":1000}`},
		{"plc03", "a2", `{"order":"abcd","unit":32}`},
		{"plc03", "b", `{"order":"abcd","name":"B003 {n} {x}"}`},
	} {
		if got := string(device(t, link(t, c, tc.link), tc.device).Settings); got != tc.settings {
			t.Errorf("%s/%s: settings %s, want %s", tc.link, tc.device, got, tc.settings)
		}
	}
}

func TestPoints(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "plant"))
	if err != nil {
		t.Fatal(err)
	}
	m := device(t, link(t, c, "line1"), "m7")
	a := device(t, link(t, c, "plc01"), "a2")
	for _, tc := range []struct {
		device *config.Device
		want   control.Point
	}{
		{m, control.Point{Name: "slot", Address: "holding:0:uint32", Readable: true}},
		{m, control.Point{Name: "reg1", Address: "holding:2", Unit: "V", Class: 1, Scale: number(0.1), Readable: true}},
		{m, control.Point{Name: "reg99", Address: "holding:100", Unit: "V", Class: 1, Scale: number(0.1), Readable: true}},
		{m, control.Point{
			Name: "setpoint", Address: "40200", Readable: true, Writable: true,
			Min: number(-5), Max: number(5.5), Deadband: number(0.5), Offset: number(10),
		}},
		{a, control.Point{Name: "reg4", Address: "holding:5", Unit: "V", Class: 1, Scale: number(0.1), Readable: true}},
		{a, control.Point{Name: "reg5", Address: "holding:6", Unit: "V", Class: 0, Scale: number(2), Readable: true}},
		{a, control.Point{Name: "own", Address: "coil:2", Readable: true}},
	} {
		if diff := cmp.Diff(tc.want, point(t, tc.device, tc.want.Name)); diff != "" {
			t.Errorf("%s: %s", tc.want.Name, diff)
		}
	}
	if len(m.Table.Points) != 101 || m.Table.Points[0].Name != "slot" || m.Table.Points[100].Name != "setpoint" {
		t.Error("the points are not in the order of the file, the template's template first")
	}
}

func TestTablesAreShared(t *testing.T) {
	c := mustParse(t, `
templates:
  meter: {points: {"r[1..3]": {address: "a{n}", scale: 2}}}
links:
  one[1..2]:
    driver: bare
    devices:
      m[1..9]: {template: meter}
      by.hand: {points: {r1: {address: a1, scale: 2}, r2: {address: a2, scale: 2.0}, r3: {address: a3, scale: 2}}}
      other: {template: meter, points: {r1: {unit: V}}}
      own[1..2]: {points: {r: {address: "{d}"}}}
      late: {template: meter, points: {r1: {scan: fast}}}
    scan: {fast: 1s}
  two:
    driver: bare
    devices: {m1: {template: meter}}
`)
	tables := map[*control.Table][]string{}
	for _, l := range c.Links {
		for _, d := range l.Devices {
			tables[d.Table] = append(tables[d.Table], l.Name+"/"+d.Name)
		}
	}
	if len(tables) != 5 {
		t.Errorf("%d tables, want 5: %v", len(tables), tables)
	}
	shared := tables[device(t, link(t, c, "one1"), "m1").Table]
	if len(shared) != 2*10+1 {
		t.Errorf("%d devices share a table, want 21: %v", len(shared), shared)
	}
}

func TestNumbersAndNames(t *testing.T) {
	c := mustParse(t, `
links:
  l[08..10]:
    driver: bare
    devices:
      "x[0..1]-y":
        int: 0x1F
        octal: 0o17
        binary: 0b101
        grouped: 1_000
        plus: +5
        float: 1.50
        exp: 1e3
        big: 123456789012345678901234567890
        uint: 18446744073709551615
        yes: yes
        "true": true
        text: "5"
        date: 2026-01-02
        list: ["{n}", "{l+d:02x}", "{{n}}", '\d{3}\p{L}', {k: "{n}{n}"}]
        block: |
          line {d}
        quoted: "\u00e9\t<&>"
`)
	got := string(device(t, link(t, c, "l08"), "x1-y").Settings)
	want := `{"int":31,"octal":15,"binary":5,"grouped":1000,"plus":5,"float":1.5,"exp":1000,` +
		`"big":1.2345678901234568e+29,"uint":18446744073709551615,"yes":"yes","true":true,"text":"5","date":"2026-01-02",` +
		`"list":[1,"09","{n}","\\d{3}\\p{L}",{"k":"11"}],"block":"line 1\n","quoted":"é\t\u003c\u0026\u003e"}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !json.Valid([]byte(got)) {
		t.Error("not JSON")
	}
}

func TestLinkTemplates(t *testing.T) {
	c := mustParse(t, `
templates:
  tcp:
    driver: bare
    timeout: 3s
    url: "tcp://h:{n}"
    scan: {fast: 1ms, slow: 1m}
    devices:
      m[1..3]: {unit: "{n}", points: {p: {address: "a{d}"}}}
links:
  plc[5..6]:
    template: tcp
    timeout: 4s
    scan: {slow: 2m}
    devices:
      m2: {order: x, points: {q: {address: b, scan: fast}}}
      z: {}
`)
	l := link(t, c, "plc6")
	if l.Timeout != 4*time.Second || string(l.Settings) != `{"url":"tcp://h:6"}` || l.Driver != "bare" {
		t.Errorf("link %+v", l)
	}
	if got := fmt.Sprint(l.Classes); got != "[{default 1s 0} {fast 1ms 0} {slow 2m0s 0}]" {
		t.Errorf("classes %s", got)
	}
	var names []string
	for _, d := range l.Devices {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "m1 m2 m3 z" {
		t.Errorf("devices %s", got)
	}
	m2 := device(t, l, "m2")
	if string(m2.Settings) != `{"unit":2,"order":"x"}` || point(t, m2, "p").Address != "a2" || point(t, m2, "q").Class != 1 {
		t.Errorf("overridden device: %s %+v", m2.Settings, m2.Table.Points)
	}
}

func TestByteOrderMarkAndCarriageReturns(t *testing.T) {
	c := mustParse(t, "\xef\xbb\xbfgateway: g\r\nlinks:\r\n  l: {driver: bare, a: \"x\"}\r\n")
	if c.Gateway != "g" || string(c.Links[0].Settings) != `{"a":"x"}` {
		t.Errorf("%+v", c)
	}
}
