package pack_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/pack"
)

// parsed is a manifest with these endpoints and wants; empty: it has none.
func parsed(t testing.TB, endpoints, wants string) *pack.Manifest {
	t.Helper()
	lines := whole()
	lines["endpoints"], lines["wants"] = endpoints, wants
	m, err := pack.ParseManifest([]byte(manifestOf(lines)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const everyWay = `{"tcp": {"over": "tcp", "port": 502}, "tls": {"over": "tcp", "port": 802, "tls": true}, "udp": {"over": "udp", "port": 502},
  "rtu": {"over": "serial"}, "rfc2217": {"over": "tcp"}, "rtu+tcp": {"over": "tcp"}, "file": {"over": "file"}, "unix": {"over": "unix"},
  "http": {"over": "nothing"}, "host:port": {"over": "udp"}}`

// The example of docs/package.md is taken.
func TestEndpointsOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/package.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(text), "```json\n\"endpoints\": ")
	example, _, closed := strings.Cut(example, "```")
	if m := parsed(t, example, `{"tcp": "from-links"}`); !found || !closed || len(m.Endpoints) != 6 {
		t.Errorf("%d endpoints of %s", len(m.Endpoints), example)
	}
}

func TestEndpointOf(t *testing.T) {
	m := parsed(t, everyWay, "")
	for text, want := range map[string]pack.Endpoint{
		"tcp://192.0.2.1":              {Over: pack.OverTCP, Host: "192.0.2.1", Port: 502},
		"TCP://192.0.2.1:1502":         {Over: pack.OverTCP, Host: "192.0.2.1", Port: 1502},
		"tcp://[2001:db8::7]":          {Over: pack.OverTCP, Host: "2001:db8::7", Port: 502},
		"tls://plc7.example":           {Over: pack.OverTCP, Host: "plc7.example", Port: 802, TLS: true},
		"udp://192.0.2.1":              {Over: pack.OverUDP, Host: "192.0.2.1", Port: 502},
		"rfc2217://192.0.2.1:2217":     {Over: pack.OverTCP, Host: "192.0.2.1", Port: 2217},
		"rtu+tcp://user:pw@h:4001/x?y": {Over: pack.OverTCP, Host: "h", Port: 4001},
		"rtu:///dev/ttyUSB0?baud=9600": {Over: pack.OverSerial, Path: "/dev/ttyUSB0"},
		"rtu:///dev/../dev/ttyS1":      {Over: pack.OverSerial, Path: "/dev/ttyS1"},
		"file:///etc/acme/ca.pem":      {Over: pack.OverFile, Path: "/etc/acme/ca.pem"},
		"unix:///run/acme.sock":        {Over: pack.OverUnix, Path: "/run/acme.sock"},
		"/dev/ttyUSB0":                 {Over: pack.OverFile, Path: "/dev/ttyUSB0"},
		"192.0.2.1:161":                {Over: pack.OverUDP, Host: "192.0.2.1", Port: 161},
		"[2001:db8::7]:161":            {Over: pack.OverUDP, Host: "2001:db8::7", Port: 161},
		"plc7.example:161":             {Over: pack.OverUDP, Host: "plc7.example", Port: 161},
		"http://acme.example/UA/":      {}, // is only a name
		"plc7.example":                 {},
		"plc7:x":                       {},
		"a sentence: 7":                {},
		":161":                         {},
		"see http://, or /nowhere":     {},
		"tcp://":                       {},
		"secret:broker":                {},
		"plant-7/line1":                {},
		"\r\n":                         {},
		"":                             {},
	} {
		e, err := m.Endpoint(text)
		if diff := cmp.Diff(want, e); diff != "" || err != nil {
			t.Errorf("%q: %v, (-want +got)\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"mqtt://u:geheim@h":      "driver d knows no mqtt://: write one of file://, HOST:PORT, rfc2217://, rtu://, rtu+tcp://, tcp://, tls://, udp://, unix://, as its package says",
		"tcp://h:99999":          `"99999" is no port: write a number from 1 to 65535`,
		"tcp://h:0":              `"0" is no port`,
		"h:65536":                `"65536" is no port`,
		"tcp://u:geheim@h:port":  "it is no URL: write tcp://HOST:PORT",
		"tcp://:502":             "it names no host: write tcp://HOST:PORT",
		"rfc2217://192.0.2.1":    "it has no port, and rfc2217:// has none by default: write rfc2217://HOST:PORT",
		"rtu://ttyUSB0":          "it names no absolute path: write rtu:///PATH",
		"unix://host/run/a.sock": "it names no absolute path: write unix:///PATH",
	} {
		e, err := m.Endpoint(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") || e != (pack.Endpoint{}) {
			t.Errorf("%q: %v, %v, want %s", text, e, err, want)
		}
	}
	none := parsed(t, "{}", "")
	if _, err := none.Endpoint("tcp://h:1"); err == nil || !strings.Contains(err.Error(), "driver d knows no tcp://: its package names none: write no URL here") {
		t.Errorf("of a driver without URLs: %v", err)
	}
	if e, err := none.Endpoint("h:1"); err != nil || e != (pack.Endpoint{}) {
		t.Errorf("of a driver without URLs: %v, %v", e, err)
	}
}

// Of a manifest without endpoints every URL counts as TCP, and nothing is refused.
func TestEndpointUnsaid(t *testing.T) {
	m := parsed(t, "", `{"tcp": "from-links"}`)
	for text, want := range map[string]pack.Endpoint{
		"opc.tcp://h:4840/x":   {Over: pack.OverTCP, Host: "h", Port: 4840, TLS: true},
		"tcp://192.0.2.1":      {Over: pack.OverTCP, Host: "192.0.2.1", TLS: true},
		"tcp://h:99999":        {},
		"tcp://h:port":         {},
		"file:///etc/shadow":   {},
		"192.0.2.1:502":        {},
		"urn:acme":             {},
		"/dev/ttyS0":           {Over: pack.OverFile, Path: "/dev/ttyS0"},
		"see http://, or that": {},
	} {
		e, err := m.Endpoint(text)
		if diff := cmp.Diff(want, e); diff != "" || err != nil {
			t.Errorf("%q: %v, (-want +got)\n%s", text, err, diff)
		}
	}
}

func TestAllows(t *testing.T) {
	tcp, udp := pack.Endpoint{Over: pack.OverTCP, Host: "h", Port: 502}, pack.Endpoint{Over: pack.OverUDP, Host: "h", Port: 502}
	unsaid := pack.Endpoint{Over: pack.OverTCP, Host: "h"}
	tty, socket := pack.Endpoint{Over: pack.OverSerial, Path: "/dev/ttyS0"}, pack.Endpoint{Over: pack.OverUnix, Path: "/run/s"}
	for _, c := range []struct {
		wants string
		e     pack.Endpoint
		want  string // empty: it may
	}{
		{`{"tcp": "from-links"}`, tcp, ""},
		{`{"tcp": "from-links"}`, unsaid, ""},
		{`{"tcp": [7, 502]}`, tcp, ""},
		{`{"tcp": [7, 8]}`, tcp, "may not use TCP port 502: its package asks for 7, 8 alone (`wants.tcp`)"},
		{`{"tcp": [7]}`, unsaid, "it has no port: write one of the TCP ports that the driver's package asks for, 7"},
		{`{"tcp": []}`, tcp, "may not use TCP: its package does not ask for it (`wants.tcp`)"},
		{`{"udp": true}`, tcp, "may not use TCP: "},
		{`{"udp": true}`, udp, ""},
		{`{"udp": "from-links"}`, udp, ""},
		{`{"udp": [502]}`, udp, ""},
		{`{"udp": [161]}`, udp, "may not use UDP port 502: its package asks for 161 alone (`wants.udp`)"},
		{`{"udp": false, "tcp": "from-links"}`, udp, "may not use UDP: its package does not ask for it (`wants.udp`)"},
		{`{"tcp": [1,2,3,4,5,6,7,8,9,10,11,12]}`, tcp, "asks for 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 2 more alone"},
		{`{"serial": true}`, tty, ""},
		{`{}`, tty, "may not open serial ports: its package does not ask for them (`wants.serial`)"},
		{`{"unix": true}`, socket, ""},
		{`{}`, socket, "may not connect to Unix sockets: its package does not ask for them (`wants.unix`)"},
		{`{}`, pack.Endpoint{Over: pack.OverFile, Path: "/etc/hosts"}, ""},
		{`{}`, pack.Endpoint{}, ""},
	} {
		err := parsed(t, "{}", c.wants).Wants.Allows(c.e)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %+v: %v, want %s", c.wants, c.e, err, c.want)
		}
	}
}

// What a manifest does not say is not written either, so that gateways of before take it.
func TestWhatIsNotSaidIsNotWritten(t *testing.T) {
	for _, c := range []struct{ endpoints, wants, want string }{
		{"", "{}", `"wants":{"serial":false,"tcp":[],"unix":false}`},
		{"{}", `{"udp": true}`, `"endpoints":{},"wants":{"serial":false,"tcp":[],"udp":true,"unix":false}`},
		{`{"u": {"over": "udp", "port": 9}}`, `{"udp": "from-links", "tcp": [7]}`, `"endpoints":{"u":{"over":"udp","port":9}},"wants":{"serial":false,"tcp":[7],"udp":"from-links","unix":false}`},
		{"", `{"udp": [161]}`, `"tcp":[],"udp":[161],`},
	} {
		m := parsed(t, c.endpoints, c.wants)
		text, err := json.Marshal(m)
		if err != nil || !strings.Contains(string(text), c.want) || (c.endpoints == "") == strings.Contains(string(text), "endpoints") {
			t.Errorf("%s, %s: %v, %s", c.endpoints, c.wants, err, text)
		}
		again, err := pack.ParseManifest(text)
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Errorf("%s, %s: %v, %s", c.endpoints, c.wants, err, diff)
		}
	}
}

// Whatever a text is, what it names has a host and a port, or a path, or is nothing.
func FuzzEndpoint(f *testing.F) {
	said, unsaid := parsed(f, everyWay, ""), parsed(f, "", "")
	for _, text := range []string{"tcp://h:502", "rtu:///dev/ttyS0", "h:1", "://", "tcp://[::1%25eth0]:5", "/a/../..", "TLS://ü"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range []*pack.Manifest{said, unsaid} {
			e, err := m.Endpoint(text)
			switch {
			case err != nil && (m == unsaid || e != (pack.Endpoint{}) || strings.Contains(err.Error(), "\n")):
				t.Errorf("%q: %+v, %v", text, e, err)
			case e.Over == pack.OverTCP || e.Over == pack.OverUDP:
				if e.Host == "" || e.Path != "" || e.Port == 0 && m == said {
					t.Errorf("%q: %+v", text, e)
				}
			case e.Over != "" && (e.Host != "" || e.Port != 0 || !strings.HasPrefix(e.Path, "/")), e.Over == pack.OverNothing:
				t.Errorf("%q: %+v", text, e)
			}
		}
	})
}
