package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestCheckTakesWhatIsRight(t *testing.T) {
	c := mustParse(t, `
links:
  l[10..11]:
    driver: modbus
    url: "tcp://h:{n}"
    client: "{l}"
    tls: {ca: "{n}", cert: c.pem}
    devices:
      m[1..3]: {unit: "{n}", serial: "{n+7}", points: {p: {address: "holding:{d}"}, classic: {address: 40101}}}
  b: {driver: bare, devices: {d: {points: {p: {address: any}}}}}
`)
	if err := c.Check(drivers()); err != nil {
		t.Fatal(err)
	}
	// Where the schema wants a text, what a placeholder made is one.
	if got := string(link(t, c, "l11").Settings); got != `{"client":"11","tls":{"ca":"11","cert":"c.pem"},"url":"tcp://h:11"}` {
		t.Errorf("settings %s", got)
	}
	if got := string(device(t, link(t, c, "l11"), "m2").Settings); got != `{"serial":"9","unit":2}` {
		t.Errorf("settings %s", got)
	}
	if err := c.Check(drivers()); err != nil {
		t.Errorf("a second check: %v", err)
	}
}

func TestCheckWithoutSchemas(t *testing.T) {
	c := mustParse(t, "links: {l: {driver: bare, port: 5, devices: {d: {x: 1}}}}")
	got := c.Check(drivers()).Error()
	want := `fieldloom.yaml:1:27: links.l.port: unknown key: the driver bare takes no keys here
fieldloom.yaml:1:50: links.l.devices.d.x: unknown key: the driver bare takes no keys here`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCheckWithoutDrivers(t *testing.T) {
	c := mustParse(t, "links: {l: {driver: bare}}")
	want := `fieldloom.yaml:1:21: links.l.driver: there is no driver "bare": no driver was found: ` +
		"install its package with `fieldloom driver install`, or set `drivers:` to the directory that has it"
	if got := c.Check(nil).Error(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestCheckWithWrongSchema(t *testing.T) {
	c := mustParse(t, "links: {l: {driver: x}, k: {driver: x}}")
	for _, schema := range []string{`{`, `{"type": 5}`, `{"$ref": "file:///etc/passwd"}`, `{"$ref": "http://localhost/x"}`, `{"pattern": "("}`} {
		err := c.Check(map[string]control.Description{"x": {Info: driver.Info{LinkSchema: json.RawMessage(schema)}}})
		if err == nil || !strings.Contains(err.Error(), "tell its author") || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func TestLocate(t *testing.T) {
	c, err := config.Load("testdata/plant")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		fault *driver.ConfigError
		want  string
	}{
		{&driver.ConfigError{Link: "line1"}, "testdata/plant/links/line1.yaml:2:3: links.line1: wrong"},
		{&driver.ConfigError{Link: "line1", Key: "url"}, "testdata/plant/links/line1.yaml:4:10: links.line1.url: wrong"},
		{&driver.ConfigError{Link: "line1", Key: "window"}, "testdata/plant/links/line1.yaml:2:3: links.line1.window: wrong"},
		{&driver.ConfigError{Link: "plc02", Key: "url"}, "testdata/plant/links/plc.yaml:4:10: links.plc[01..03].url: wrong (plc02)"},
		{&driver.ConfigError{Link: "line1", Device: "m9"}, "testdata/plant/links/line1.yaml:9:7: links.line1.devices.m[1..1000]: wrong (line1/m9)"},
		{
			&driver.ConfigError{Link: "line1", Device: "m9", Key: "unit"},
			"testdata/plant/links/line1.yaml:9:43: links.line1.devices.m[1..1000].unit: wrong (line1/m9)",
		},
		{&driver.ConfigError{Link: "line1", Device: "m9", Key: "order"}, "testdata/plant/fieldloom.yaml:9:12: templates.base.order: wrong (line1/m9)"},
		{
			&driver.ConfigError{Link: "line1", Device: "m9", Point: "reg7", Key: "address"},
			"testdata/plant/fieldloom.yaml:15:29: templates.meter.points.reg[1..99].address: wrong (line1/m9/reg7)",
		},
		{
			&driver.ConfigError{Link: "plc01", Device: "a1", Point: "own"},
			"testdata/plant/links/plc.yaml:12:11: links.plc[01..03].devices.a[1..2].points.own: wrong (plc01/a1/own)",
		},
		{&driver.ConfigError{Link: "line1", Device: "gone"}, "testdata/plant/links/line1.yaml:2:3: links.line1: wrong (line1/gone)"},
		{&driver.ConfigError{Link: "gone"}, "driver modbus: wrong"},
		{&driver.ConfigError{}, "driver modbus: wrong"},
	} {
		tc.fault.Text = "wrong"
		if got := c.Locate("modbus", tc.fault).Error(); got != tc.want {
			t.Errorf("Locate(%+v)\n got %s\nwant %s", tc.fault, got, tc.want)
		}
	}
}

// A schema that would keep the core busy for ever is refused.
func TestSchemasThatNeverEnd(t *testing.T) {
	var twice strings.Builder
	twice.WriteString(`{"$ref":"#/$defs/a0","$defs":{`)
	for i := range 60 {
		fmt.Fprintf(&twice, `"a%d":{"properties":{"x":{"$ref":"#/$defs/a%d"}},"allOf":[{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	twice.WriteString(`"a60":true}}`)
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"%dx{900}":true,`, i)
	}
	for name, tc := range map[string]struct{ schema, want string }{
		"twice":     {twice.String(), "more than 100000 schemas"},
		"deep":      {strings.Repeat(`{"not":`, 9000) + "true" + strings.Repeat("}", 9000), "nested more than 64 deep"},
		"pattern":   {`{"properties":{"url":{"pattern":"^x|([a-z]{20}){20}$"}}}`, ""},
		"large":     {`{"properties":{"url":{"pattern":"(((([a-z]{9}){9}){9}[0-9]{9}){1000})"}}}`, "wrong JSON Schema"},
		"steps":     {`{"properties":{"url":{"pattern":"^(abcdef){1000}$"}}}`, "more than 2000 steps"},
		"many":      {`{"patternProperties":{` + many.String() + `"x":true}}`, "more than 50000 steps"},
		"long":      {`{"description":"` + strings.Repeat("x", 1<<20) + `"}`, "more than 1048576 bytes"},
		"recursive": {`{"type":"object","additionalProperties":{"anyOf":[{"$ref":"#"},{"type":"string"}]}}`, ""},
	} {
		c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("links: {l: {driver: d, url: x, more: {a: {b: c}}}}\n")})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check(map[string]control.Description{"d": {Info: driver.Info{Name: "d", LinkSchema: json.RawMessage(tc.schema)}}})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
