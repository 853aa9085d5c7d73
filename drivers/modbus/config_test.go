package modbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// fault is a ConfigError's place and a part of its text.
type fault struct{ Device, Point, Key, Text string }

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	err := modbus.New().(driver.Checker).Check(
		driver.LinkConfig{Settings: json.RawMessage(`{"url":"http://plc","window":65}`)},
		[]driver.DeviceConfig{
			{Name: "a", Settings: json.RawMessage(`{"unit":256,"order":"abdc","write":"fc5","write_coil":"fc6","write_bit":"fc22","max_block":126,"gap":-1}`)},
			{Name: "b", Settings: json.RawMessage(`{"max_block":2}`), Points: []driver.Point{
				{Name: "fits", Address: "holding:1:float32"},
				{Name: "large", Address: "holding:1:float64"},
				{Name: "wrong", Address: "holding:x"},
			}},
			{Name: "c", Settings: json.RawMessage(`{"unti":1}`)},
		})
	want := []fault{
		{"", "", "url", "is no address of this driver: use tcp://HOST:PORT"},
		{"", "", "window", "65 is out of range: use 1 to 64"},
		{"a", "", "order", "abdc is not allowed: use abcd, dcba, badc or cdab"},
		{"a", "", "unit", "256 is not allowed: use 0 to 255"},
		{"a", "", "write", "fc5 is not allowed: use auto, fc6 or fc16"},
		{"a", "", "write_coil", "fc6 is not allowed: use fc5 or fc15"},
		{"a", "", "write_bit", "fc22 is not allowed: use mask or read_modify_write"},
		{"a", "", "max_block", "126 is not allowed: use 1 to 125"},
		{"a", "", "gap", "-1 is not allowed: use 0 to 123"},
		{"b", "large", "address", "takes 4 registers, more than the device's max_block of 2"},
		{"b", "wrong", "address", `"x" is not a number from 0 to 65535`},
		{"c", "", "", `unknown field "unti"`},
	}
	var got []fault
	for i, e := range driver.ConfigErrors(err) {
		f := fault{e.Device, e.Point, e.Key, e.Text}
		if i < len(want) && strings.Contains(e.Text, want[i].Text) {
			f.Text = want[i].Text
		}
		got = append(got, f)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"tcp://plc":                  "tcp://plc:502",
		"tcp://192.0.2.1:1502":       "tcp://192.0.2.1:1502",
		"tcp://[2001:db8::1]":        "tcp://[2001:db8::1]:502",
		"tcp://[2001:db8::1]:1502":   "tcp://[2001:db8::1]:1502",
		"udp://plc":                  "udp://plc:502",
		"tls://plc":                  "tls://plc:802",
		"rfc2217://moxa:4001":        "rfc2217://moxa:4001",
		"/dev/ttyUSB0":               "/dev/ttyUSB0",
		"serial:///dev/ttyUSB0":      "/dev/ttyUSB0",
		"rfc2217://moxa":             "",
		"serial://ttyUSB0":           "",
		"http://plc":                 "",
		"":                           "",
		"plc:502":                    "",
		"tcp://":                     "",
		"tcp://:502":                 "",
		"tcp://plc:0":                "",
		"tcp://plc:70000":            "",
		"tcp://plc/unit/1":           "",
		"tcp://user:secret@plc":      "",
		"tcp://plc:502?timeout=3":    "",
		"tcp://plc:502 ":             "",
		"tcp:plc":                    "",
		"tcp://plc:502#fragment":     "",
		"tcp://%zz":                  "",
		strings.Repeat("tcp://", 99): "",
	} {
		var dialed string
		errDial := errors.New("not dialing")
		d := modbus.NewOver(func(_ context.Context, address string) (net.Conn, error) {
			dialed = address
			return nil, errDial
		})
		settings, err := json.Marshal(map[string]string{"url": url})
		if err != nil {
			t.Fatal(err)
		}
		err = poll(t, d, settings, timeout)
		if dialed != want {
			t.Errorf("%q: dialed %q, want %q (%v)", url, dialed, want, err)
		}
		if want == "" && driver.CodeOf(err) != driver.InvalidConfig {
			t.Errorf("%q: %v is %v", url, err, driver.CodeOf(err))
		}
		if want != "" && (driver.CodeOf(err) != driver.NotConnected || !errors.Is(err, errDial)) {
			t.Errorf("%q: %v is %v", url, err, driver.CodeOf(err))
		}
	}
}

// poll opens a link and polls a device of it once.
func poll(t *testing.T, d driver.Driver, settings json.RawMessage, timeout time.Duration) error {
	t.Helper()
	l, err := d.Open(t.Context(), driver.LinkConfig{Timeout: timeout, Settings: settings}, driver.Env{})
	if err != nil {
		return err
	}
	defer l.Close(t.Context())
	points := []driver.Point{{Name: "a", Address: "holding:0"}}
	unit, err := l.Device(t.Context(), driver.DeviceConfig{Name: "d", Points: points})
	if err != nil {
		t.Fatal(err)
	}
	return unit.(driver.Reader).Read(t.Context(), points, make([]driver.Sample, 1))
}

// Where nobody listens the first poll says so.
func TestOpenRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	settings := json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s"}`, address))
	err = poll(t, modbus.New(), settings, time.Minute)
	mustFail(t, err, driver.NotConnected, "modbus: connect to tcp://"+address)
}

func TestDeviceReportsWhatCheckDoes(t *testing.T) {
	_, err := newRig(t, newServer(), "").unit(`{"unit":256}`, "holding:x", "coil:y")
	if faults := driver.ConfigErrors(err); len(faults) != 3 || driver.CodeOf(err) != driver.InvalidConfig {
		t.Errorf("faults %v", faults)
	}
}

func compile(t *testing.T, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schema)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemas(t *testing.T) {
	info := modbus.New().Info()
	link, device, address := compile(t, info.LinkSchema), compile(t, info.DeviceSchema), compile(t, info.AddressSchema)
	tests := []struct {
		schema *jsonschema.Schema
		json   string
		valid  bool
	}{
		{link, `{"url":"tcp://plc:502"}`, true},
		{link, `{"url":"tcp://plc:502","window":64}`, true},
		{link, `{}`, false},
		{link, `{"url":"plc"}`, false},
		{link, `{"url":"tcp://plc","window":0}`, false},
		{link, `{"url":"tcp://plc","windows":1}`, false},
		{link, `{"url":"/dev/ttyUSB0","framing":"rtu","baud":19200,"parity":"none","stop_bits":2,"turnaround":"20ms","echo":true}`, true},
		{link, `{"url":"tcp://plc","framing":"ascii","echo":"auto","ignore":["transaction","trailing","unit"]}`, true},
		{link, `{"url":"tls://plc","pause_after_connect":"2500ms","idle_close":"10s","close_after_poll":false}`, true},
		{link, `{"url":"tcp://plc","framing":"tcp"}`, false},
		{link, `{"url":"tcp://plc","echo":"yes"}`, false},
		{link, `{"url":"tcp://plc","ignore":"unit"}`, false},
		{link, `{"url":"tcp://plc","ignore":["units"]}`, false},
		{link, `{"url":"tcp://plc","turnaround":20}`, false},
		{link, `{"url":"tcp://plc","idle_close":"soon"}`, false},
		{device, `{"unit":0,"broadcast":true}`, true},
		{device, `{}`, true},
		{device, `{"unit":255,"order":"cdab","write":"fc16","write_coil":"fc15","write_bit":"mask","max_block":32,"gap":0}`, true},
		{device, `{"unit":247}`, true},
		{device, `{"unit":256}`, false},
		{device, `{"unit":"1"}`, false},
		{device, `{"order":"abdc"}`, false},
		{device, `{"slave":1}`, false},
		{address, `"holding:100"`, true},
		{address, `40101`, false},
	}
	for _, test := range tests {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(test.json))
		if err != nil {
			t.Fatal(err)
		}
		if err := test.schema.Validate(value); (err == nil) != test.valid {
			t.Errorf("%s: %v", test.json, err)
		}
	}
	for _, example := range address.Examples {
		if _, own := modbus.OwnSample(example.(string), nil); own {
			continue
		}
		if _, err := modbus.ParseAddress(example.(string)); err != nil {
			t.Errorf("the schema's example: %v", err)
		}
	}
}

// What the machine refuses is told from what the device does.
func TestOpenNamesTheConfinement(t *testing.T) {
	for errno, confined := range map[syscall.Errno]bool{
		syscall.EACCES: true, syscall.EPERM: true, syscall.EAFNOSUPPORT: true, syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false,
	} {
		d := modbus.NewOver(func(context.Context, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
		})
		err := poll(t, d, json.RawMessage(`{"url": "tcp://plc"}`), timeout)
		if strings.Contains(err.Error(), "confinement") != confined || driver.CodeOf(err) != driver.NotConnected || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
