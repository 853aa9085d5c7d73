package config_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// writeAll lays files into a directory of their own.
func writeAll(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

const strayLink = "links:\n  l: {driver: x}\n"

// TestFilesThatAreNotRead: a file that looks like part of the configuration and is not
// read is a warning that names it; what is not meant to be read is none.
func TestFilesThatAreNotRead(t *testing.T) {
	for name, warned := range map[string]bool{
		"line1.yaml": true, "line1.yml": true, "LINE1.YAML": true, "link/line1.yaml": true, "Links/line1.yml": true,
		"conf.d/line1.yaml": true, "links/hall2/line1.yaml": true,
		"links/line1.yaml": false, ".line1.yaml": false, ".git/line1.yaml": false, "data/kept/line1.yaml": false, "data/line1.yaml": false,
		"secrets/line1.yaml": false, "line1.yaml.bak": false, "line1.txt": false,
	} {
		dir := writeAll(t, map[string]string{"fieldloom.yaml": "gateway: g\n", name: strayLink})
		c, err := config.Load(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		list := c.Warnings()
		if warned != (len(list) == 1 && list[0].File == filepath.Join(dir, name)) || !warned && len(list) > 0 {
			t.Errorf("%s: warnings %v, want one: %v", name, list, warned)
		}
	}
	dir := writeAll(t, map[string]string{"fieldloom.yaml": "gateway: g\n", "sim.yaml": "servers: {}\n", "trust.yaml": "keys: []\n"})
	if c, err := config.Load(dir); err != nil || len(c.Warnings()) > 0 {
		t.Errorf("files for others: %v", err)
	}
	for _, name := range []string{"links/a.YAML", "links/a.YML", "links/a.yml"} {
		if _, err := config.Load(writeAll(t, map[string]string{"fieldloom.yaml": "gateway: g\n", name: strayLink})); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// checked loads and checks, and returns errors and warnings as text.
func checked(t *testing.T, files map[string]string) (wrong, warnings string) {
	t.Helper()
	c, err := config.LoadAll(writeAll(t, files))
	if err != nil {
		wrong = err.Error() + "\n"
	}
	schema := func(text string) json.RawMessage { return json.RawMessage(text) }
	err = c.Check(map[string]control.Description{"x": {Info: driver.Info{
		Name: "x",
		LinkSchema: schema(`{"type": "object", "additionalProperties": false, "properties": {
			"url": {"type": "string"}, "send": {"type": "string", "description": "With {value} in it."},
			"lines": {"type": "object", "description": "{name} is a variable.", "additionalProperties": {"type": "string"}},
			"size": {"type": "integer"}}}`),
		DeviceSchema:  schema(`{"type": "object", "properties": {"unit": {"type": "integer"}}, "additionalProperties": false}`),
		AddressSchema: schema(`{"type": "string", "pattern": "^[a-z{}$A-Z]+$"}`),
	}}}, "installed")
	if err != nil {
		wrong += err.Error()
	}
	for _, w := range c.Warnings() {
		warnings += w.Error() + "\n"
	}
	return wrong, warnings
}

// TestBracesThatNothingReplaces: a variable of the environment is an error wherever it
// stands, another name in braces a warning, and neither is either where the driver has
// placeholders of its own.
func TestBracesThatNothingReplaces(t *testing.T) {
	for _, tc := range []struct{ link, wrong, warning string }{
		{`url: "tcp://${HOST}:502"`, "links.l.url: ${HOST} is not replaced", ""},
		{`url: "${url}"`, "", "links.l.url: {url} is taken as it stands"},
		{`url: "{device}"`, "", "links.l.url: {device} is taken as it stands"},
		{`url: "{{device}}"`, "", ""},
		{`url: '{"a": 1}'`, "", ""},
		{`url: '\d{3}'`, "", ""},
		{`url: '$HOST'`, "", ""},
		{`send: "${ADDR}M{value}"`, "", ""},
		{`lines: {a: "{b}${C}"}`, "", ""},
		{`devices: {d: {points: {p: {address: "${REG}"}}}}`, "points.p.address: ${REG} is not replaced", ""},
		{`devices: {d: {points: {p: {address: "{reg}"}}}}`, "", "points.p.address: {reg} is taken as it stands"},
		{`devices: {d: {points: {p: {address: "a", unit: "${UNIT}"}}}}`, "points.p.unit: ${UNIT} is not replaced", ""},
	} {
		wrong, warnings := checked(t, map[string]string{"fieldloom.yaml": "gateway: g\n", "links/a.yaml": "links:\n  l:\n    driver: x\n    " + tc.link + "\n"})
		if (wrong == "") != (tc.wrong == "") || !strings.Contains(wrong, tc.wrong) {
			t.Errorf("%s: error %q, want %q", tc.link, wrong, tc.wrong)
		}
		if (warnings == "") != (tc.warning == "") || !strings.Contains(warnings, tc.warning) {
			t.Errorf("%s: warning %q, want %q", tc.link, warnings, tc.warning)
		}
	}
	if wrong, _ := checked(t, map[string]string{"fieldloom.yaml": "gateway: g\ndata: \"${HOME}/data\"\n"}); !strings.Contains(wrong, "data: ${HOME} is not replaced") {
		t.Errorf("data: %q", wrong)
	}
}

// TestAllErrorsAtOnce: no error hides one of another file, link or key, and none is told
// again as its consequence.
func TestAllErrorsAtOnce(t *testing.T) {
	wrong, _ := checked(t, map[string]string{
		"fieldloom.yaml":  "gateway: g\nspol: {max: 1GiB}\n",
		"links/a.yaml":    "links: [\n",
		"links/b.yaml":    "links:\n  b:\n    driver: x\n    siz: 1\n    size: \"{q+n}\"\n    timeout: 10parsecs\n    devices: {d: {unit: no, points: {p: {addr: a}, q: {address: \"1\"}}}}\n",
		"links/c.yaml":    "links:\n  c: {driver: y, template: gone}\n  d: {url: a}\n  e: {driver: instaled}\n",
		"links/d.yml":     strayLink,
		"links/e.yaml":    "links:\n  f: {driver: x, size: big}\n",
		"links/last.yaml": "linkz: {}\n",
	})
	for _, want := range []string{
		"fieldloom.yaml:2:1: spol: unknown key", "links/a.yaml:", "b.yaml:4:5: links.b.siz: unknown key (did you mean \"size\"?)",
		"b.yaml:5:11: links.b.size: the placeholder", "b.yaml:6:14: links.b.timeout:", "b.yaml:7:25: links.b.devices.d.unit:",
		"points.p.addr: unknown key", "points.q.address: \"1\" has not the form", "c.yaml:2:15: links.c.driver: there is no driver \"y\": use one of installed and x",
		"c.yaml:3:3: links.d: has no driver", "there is no driver \"instaled\" (did you mean \"installed\"?)", "links/d.yml: is not read",
		"e.yaml:2:24: links.f.size:", "links/last.yaml:1:1: linkz: unknown key",
	} {
		if strings.Count(wrong, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(wrong, want))
		}
	}
	if n := strings.Count(strings.TrimSpace(wrong), "\n") + 1; n != 14 {
		t.Errorf("%d errors, want 14:\n%s", n, wrong)
	}
	for _, consequence := range []string{"there is no template", "is too short", "is missing"} {
		if strings.Contains(wrong, consequence) {
			t.Errorf("a consequence is told: %q", consequence)
		}
	}
}
