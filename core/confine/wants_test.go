package confine_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/confine"
)

var names = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}

func TestAddURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		port uint16
		want confine.Policy
	}{
		{"tcp://192.0.2.17:1502", 502, confine.Policy{ConnectTCP: []uint16{1502}}},
		{"tcp://192.0.2.17", 502, confine.Policy{ConnectTCP: []uint16{502}}},
		{"tcp://[2001:db8::7]", 502, confine.Policy{ConnectTCP: []uint16{502}}},
		{"mqtt://192.0.2.1", 0, confine.Policy{ConnectTCP: []uint16{1883}}},
		{"tcp://plc7.example", 502, confine.Policy{ConnectTCP: []uint16{502, 53}, ConnectUDP: []uint16{53}, Read: names}},
	} {
		var p confine.Policy
		if err := p.AddURL(c.url, c.port); err != nil {
			t.Errorf("%s: %v", c.url, err)
		}
		if diff := cmp.Diff(c.want, p); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.url, diff)
		}
	}
	for _, url := range []string{"", "tcp://", "tcp://host", "tcp://host:99999", "ftp://host", "host:502", "://", "file:///etc/shadow"} {
		var p confine.Policy
		if err := p.AddURL(url, 0); err == nil {
			t.Errorf("%q: no error", url)
		}
		if diff := cmp.Diff(confine.Policy{}, p); diff != "" {
			t.Errorf("%q gave something: %s", url, diff)
		}
	}
	err := (&confine.Policy{}).AddURL("gopher://user:secret@host", 0)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a password in an error: %v", err)
	}
}

func TestAddURLOfTLS(t *testing.T) {
	var p confine.Policy
	if err := p.AddURL("mqtts://192.0.2.1", 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint16{8883}, p.ConnectTCP); diff != "" {
		t.Error(diff)
	}
	for _, path := range p.Read {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a directory of certificates that is not there: %v", err)
		}
	}
}

func TestAddValue(t *testing.T) {
	s := newScene(t)
	if err := os.WriteFile(s.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want confine.Policy
	}{
		{"tcp://127.0.0.1:502", confine.Policy{ConnectTCP: []uint16{502}}},
		{s.TTY, confine.Policy{Devices: []string{s.TTY}}},
		{"/dev/ttyUSB77", confine.Policy{Devices: []string{"/dev/ttyUSB77"}}},
		{s.File, confine.Policy{Read: []string{s.File}}},
		{s.Outside, confine.Policy{}}, // a directory is too much
		{"/", confine.Policy{}},
		{"/nowhere", confine.Policy{}},
		{"plant-7/line1", confine.Policy{}},
		{"none", confine.Policy{}},
		{"\r\n", confine.Policy{}},
		{"secret:broker", confine.Policy{}},
	} {
		var p confine.Policy
		p.AddValue(c.text, 0)
		if diff := cmp.Diff(c.want, p); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", c.text, diff)
		}
	}
}

// What a policy says is checked before anything starts.
func TestPolicyIsChecked(t *testing.T) {
	img := image(t)
	for _, p := range []confine.Policy{
		{Mode: confine.Required, Read: []string{"etc"}},
		{Mode: confine.Required, Devices: []string{""}},
		{Mode: confine.Required, UID: -1},
		{Mode: confine.Required, Read: strings.Split(strings.Repeat("/etc/hosts ", 200_000)+"/", " ")},
	} {
		if _, err := p.Prepare(command(), img); err == nil {
			t.Errorf("prepared: %.100v", p)
		}
	}
	if _, err := (confine.Policy{Mode: confine.Required}).Prepare(command(), nil); err == nil {
		t.Error("prepared a command without an executable")
	}
}
