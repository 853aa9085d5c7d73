package serial_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

func checkConfig(link string, devices ...driver.DeviceConfig) error {
	return serial.New().(driver.Checker).Check(driver.LinkConfig{Name: "l", Settings: json.RawMessage(link)}, devices)
}

func TestCheckReportsEverything(t *testing.T) {
	d := config(t, `{
		"vars": {"9x": "a", "value": "b"},
		"requests": {
			"empty": {"send": ""}, "brace": {"send": "a{b"}, "unknown": {"send": "{nobody}"}, "value": {"send": "{value}"},
			"re": {"send": "a", "expect": "("}, "var": {"send": "a", "expect": "{nobody}"}, "a b": {"send": "a"},
			"both": {"send": "a"}, "ok": {"send": "a", "expect": "(?P<x>.)(.)"}, "cols": {"send": "a", "split": ","}, "bare": {"send": "a"}},
		"lines": {"both": {}, "asks": {"send": "a"}},
		"writes": {"fmt": {"send": "{value:%d}"}, "cut": {"send": "a", "split": ","}}}`,
		"", "x", "nobody:1", "ok:3", "ok:y", "ok:x:float", "ok:1:number:2", "ok:1 b", "cols:x", "bare:1", "set=nobody", "re:1", "ok:", ":1")
	err := checkConfig(`{"port": "ttyS0", "baud": 1, "data_bits": 9, "parity": "maybe", "stop_bits": 3, "terminator": "", "max_line": 0, "late": "-1s"}`, d)
	var got []string
	for _, e := range driver.ConfigErrors(err) {
		key := e.Key
		if below, _, _ := strings.Cut(e.Text, ": "); e.Key != "address" && e.Device != "" {
			key += "." + below
		}
		got = append(got, strings.Trim(e.Device+" "+e.Point+" "+key, " "))
	}
	want := []string{"port", "baud", "data_bits", "parity", "stop_bits", "terminator", "max_line", "late",
		"dev  vars.9x", "dev  vars.value", "dev  requests.a b", "dev  requests.brace.send", "dev  requests.empty.send",
		"dev  requests.re.expect", "dev  requests.unknown.send", "dev  requests.value.send", "dev  requests.var.expect",
		"dev  lines.asks", "dev  writes.cut.split", "dev  writes.fmt.send", "dev  lines.both"}
	for _, p := range d.Points {
		if p.Name != "re:1" { // what is wrong there is told already
			want = append(want, strings.TrimRight("dev "+p.Name+" address", " "))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSendHoldsTheTerminator(t *testing.T) {
	for terminator, wrong := range map[string]bool{`\r\n`: true, `\n`: true, `;`: false} {
		err := checkConfig(`{"port": "/dev/ttyS0", "terminator": "`+terminator+`"}`, config(t, `{"requests": {"r": {"send": "a\r\nb"}}}`, "r:0"))
		if (err != nil) != wrong {
			t.Errorf("terminator %s: %v", terminator, err)
		}
	}
}

func TestMixedDevice(t *testing.T) {
	d := config(t, `{"requests": {"r": {"send": "a"}}, "lines": {"l": {}}}`, "r:0", "l:0")
	err := checkConfig(`{"port": "/dev/ttyS0"}`, d)
	if err == nil || !strings.Contains(err.Error(), "two devices") {
		t.Errorf("a device that is polled and listens: %v", err)
	}
}

func compile(t *testing.T, name string, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	check(t, err)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource(name, doc))
	s, err := c.Compile(name)
	check(t, err)
	return s
}

// TestSchemas checks that what a schema takes, the driver takes, and the reverse.
func TestSchemas(t *testing.T) {
	info := serial.New().Info()
	link, dev, addr := compile(t, "link.json", info.LinkSchema), compile(t, "device.json", info.DeviceSchema), compile(t, "address.json", info.AddressSchema)
	full := `{"vars": {"a": 1, "b": "x"}, "requests": {"r": {"send": "{a}", "expect": "(.)", "refuse": "E", "split": ","}}, "writes": {"w": {"send": "{value}", "expect": "O", "refuse": "E"}}}`
	for _, tc := range []struct {
		link, device, address string
		ok                    bool
	}{
		{`{"port": "/dev/ttyS0", "baud": 19200, "data_bits": 7, "parity": "even", "stop_bits": 2, "terminator": "\r", "max_line": 10, "late": "1s"}`, full, "r:1:text set=w", true},
		{`{"port": "/dev/ttyS0"}`, `{"lines": {"l": {"expect": "(.)"}}}`, "l:1", true},
		{`{"port": "ttyS0"}`, full, "r:1", false},
		{`{"port": "/dev/ttyS0", "baud": "9600"}`, full, "r:1", false},
		{`{"port": "/dev/ttyS0", "parity": "N"}`, full, "r:1", false},
		{`{"port": "/dev/ttyS0", "bauds": 9600}`, full, "r:1", false},
		{`{"port": "/dev/ttyS0"}`, `{"requests": {"r": {"expect": "x"}}}`, "r:0", false},
		{`{"port": "/dev/ttyS0"}`, `{"lines": {"r": {"send": "x"}}}`, "r:0", false},
		{`{"port": "/dev/ttyS0"}`, `{"vars": {"a": true}}`, "r:0", false},
		{`{"port": "/dev/ttyS0"}`, full, "", false},
	} {
		valid := validate(t, link, tc.link) && validate(t, dev, tc.device) && addr.Validate(tc.address) == nil
		err := checkConfig(tc.link, config(t, tc.device, tc.address))
		if valid != tc.ok || (err == nil) != tc.ok {
			t.Errorf("link %s, device %s, address %q: schema says %v, driver says %v", tc.link, tc.device, tc.address, valid, err)
		}
	}
}

func validate(t *testing.T, s *jsonschema.Schema, doc string) bool {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	check(t, err)
	return s.Validate(v) == nil
}

func ExampleNew() {
	link := driver.LinkConfig{Name: "line", Settings: json.RawMessage(`{"port": "/dev/ttyUSB0", "baud": 19200}`)}
	meter := driver.DeviceConfig{Name: "meter", Settings: json.RawMessage(`{
		"vars": {"addr": "01"},
		"requests": {"measure": {"send": "#{addr}MEAS?", "expect": "^#{addr} T=(?P<temp>\\S+)$"}}
	}`), Points: []driver.Point{
		{Index: 0, Name: "temperature", Address: "measure:temp"},
		{Index: 1, Name: "humidity", Address: "measure:hum"},
	}}
	fmt.Println(serial.New().(driver.Checker).Check(link, []driver.DeviceConfig{meter}))
	// Output:
	// device meter: point humidity: key address: expect "^#01 T=(?P<temp>\\S+)$" has no group named hum: write (?P<hum>...)
}
