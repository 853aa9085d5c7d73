package reach_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/pack"
)

func parsed(t *testing.T, main, links string) *config.Config {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("gateway: g\n" + main), "links/a.yaml": []byte("links:\n" + links)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lines(list config.Errors) (texts []string) {
	for _, e := range list {
		texts = append(texts, e.Error())
	}
	return texts
}

var acme = &pack.Manifest{
	Name:      "acme",
	Endpoints: pack.Endpoints{"tcp": {Over: pack.OverTCP, Port: 502}, "udp": {Over: pack.OverUDP, Port: 502}, "raw": {Over: pack.OverTCP}, "rtu": {Over: pack.OverSerial}, pack.HostPort: {Over: pack.OverTCP}},
	Wants:     pack.Wants{TCP: pack.Ports{List: []uint16{502, 503}}},
}

// What a driver may not reach is told at the place that names it, once a place, and what it
// may reach is not.
func TestFaultsHaveTheirPlaces(t *testing.T) {
	c := parsed(t, "", `  a: {driver: acme, url: "tcp://192.0.2.1"}
  b: {driver: acme, url: "tcp://192.0.2.1:504"}
  c: {driver: acme, url: "udp://192.0.2.1"}
  d: {driver: acme, url: "mqtt://192.0.2.1"}
  e: {driver: acme, url: "raw://192.0.2.1"}
  f: {driver: acme, url: "rtu:///dev/ttyUSB99"}
  g: {driver: acme, port: /dev/null, topic: /dev/no-such-topic, ca: /etc/hosts}
  h: {driver: acme, url: "192.0.2.1:99"}
  i[1..600]: {driver: acme, spare: ["tcp://192.0.2.{n}:7"], devices: {"d[1..2]": {via: "tcp://192.0.2.1:8"}}}
  j: {driver: other, url: "mqtt://192.0.2.1"}
`)
	want := []string{
		"links/a.yaml:3:26: links.b.url: its driver may not use TCP port 504: its package asks for 502, 503 alone (`wants.tcp`)",
		"links/a.yaml:4:26: links.c.url: its driver may not use UDP: its package does not ask for it (`wants.udp`)",
		"links/a.yaml:5:26: links.d.url: driver acme knows no mqtt://: write one of HOST:PORT, raw://, rtu://, tcp://, udp://, as its package says, or install a version of it that knows more",
		"links/a.yaml:6:26: links.e.url: it has no port, and raw:// has none by default: write raw://HOST:PORT",
		"links/a.yaml:7:26: links.f.url: its driver may not open serial ports: its package does not ask for them (`wants.serial`)",
		"links/a.yaml:8:27: links.g.port: its driver may not open serial ports: its package does not ask for them (`wants.serial`)",
		"links/a.yaml:9:26: links.h.url: its driver may not use TCP port 99: its package asks for 502, 503 alone (`wants.tcp`)",
	}
	found := reach.Check(c, "acme", acme, nil)
	have := lines(found.Faults)
	if len(have) < len(want) {
		t.Fatal(have)
	}
	if diff := cmp.Diff(want, have[:len(want)]); diff != "" || found.Doubts != nil {
		t.Errorf("doubts %v, (-want +got)\n%s", found.Doubts, diff)
	}
	of, rest := have[len(want):], ""
	for _, text := range of {
		rest += text + "\n"
	}
	if len(of) != 2 || !strings.Contains(rest, "links.i[1..600].spare: its driver may not use TCP port 7") || !strings.Contains(rest, "TCP port 8") {
		t.Errorf("of a range:\n%s", rest)
	}
}

// What was so before is no fault, and what changed is one.
func TestFaultsOfWhatIsNew(t *testing.T) {
	before := parsed(t, "", `  a: {driver: acme, url: "udp://192.0.2.1"}
  b: {driver: acme, url: "tcp://192.0.2.1", devices: {d: {via: "udp://192.0.2.1"}}}
  c: {driver: other, url: "udp://192.0.2.1"}
`)
	now := parsed(t, "", `  a: {driver: acme, timeout: 3s, url: "udp://192.0.2.1"}
  b: {driver: acme, url: "tcp://192.0.2.1", devices: {d: {via: "udp://192.0.2.2"}}}
  c: {driver: acme, url: "udp://192.0.2.1"}
  d: {driver: acme, url: "udp://192.0.2.1"}
`)
	var paths []string
	for _, e := range reach.Check(now, "acme", acme, before).Faults {
		paths = append(paths, e.Path)
	}
	if diff := cmp.Diff([]string{"links.b.devices.d.via", "links.c.url", "links.d.url"}, paths); diff != "" {
		t.Error(diff)
	}
}

// A driver that is not confined reaches everything.
func TestNoFaultWithoutConfinement(t *testing.T) {
	links := `  a: {driver: acme, url: "udp://192.0.2.1"}` + "\n"
	for main, want := range map[string]int{"": 1, "confine: required\n": 1, "confine: off\n": 0, "processes: {acme: {confine: off}}\n": 0} {
		if found := reach.Check(parsed(t, main, links), "acme", acme, nil); len(found.Faults) != want {
			t.Errorf("%s: %v", main, lines(found.Faults))
		}
	}
}

// Of a manifest without endpoints nothing is an error: it is not sure what its URLs mean.
func TestDoubtsOfManifestsOfBefore(t *testing.T) {
	links := `  a: {driver: acme, url: "%s"}` + "\n"
	for _, q := range []struct {
		text, main string
		wants      pack.Wants
		want       string
	}{
		{"tcp://192.0.2.1:502", "", pack.Wants{TCP: pack.Ports{FromLinks: true}}, ""},
		{"mqtt://192.0.2.1", "", pack.Wants{TCP: pack.Ports{FromLinks: true}}, "the driver may connect to every TCP port: write the port"},
		{"mqtt://192.0.2.1", "confine: required\n", pack.Wants{TCP: pack.Ports{FromLinks: true}}, "the driver may connect to none: write the port"},
		{"mqtt://192.0.2.1:1883", "", pack.Wants{TCP: pack.Ports{List: []uint16{502}}}, "may not use TCP port 1883"},
		{"mqtt://192.0.2.1:1883", "", pack.Wants{}, "may not use TCP: "},
		{"/dev/null", "", pack.Wants{}, "may not open serial ports"},
		{"/dev/null", "", pack.Wants{Serial: true}, ""},
		{"192.0.2.1:502", "", pack.Wants{}, ""},
	} {
		c := parsed(t, q.main, fmt.Sprintf(links, q.text))
		found := reach.Check(c, "acme", &pack.Manifest{Name: "acme", Wants: q.wants}, nil)
		texts := strings.Join(lines(found.Doubts), "\n")
		if found.Faults != nil || (q.want == "") != (texts == "") || !strings.Contains(texts, q.want) {
			t.Errorf("%s, %+v: faults %v, doubts %s", q.text, q.wants, found.Faults, texts)
		}
	}
}

// The path of a setting is what lies there.
func TestEndpointsOfPaths(t *testing.T) {
	dir := t.TempDir()
	file, tty := filepath.Join(dir, "file"), filepath.Join(dir, "tty")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", tty); err != nil {
		t.Fatal(err)
	}
	c := parsed(t, "", fmt.Sprintf("  a: {driver: acme, list: [%s, %s, /dev/no-such-tty, relative/path, %s]}\n", file, tty, filepath.Join(dir, "none")))
	have := map[string]pack.Over{}
	reach.Endpoints(c.Links[0], acme, func(s reach.Setting, e pack.Endpoint, err error) {
		if s.Key != "list" || err != nil {
			t.Errorf("%+v: %v", s, err)
		}
		have[e.Path] = e.Over
	})
	want := map[string]pack.Over{file: pack.OverFile, tty: pack.OverSerial, "/dev/no-such-tty": pack.OverSerial, filepath.Join(dir, "none"): pack.OverFile}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}
