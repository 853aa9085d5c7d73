package confine_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/confine"
)

var names = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}

func TestAddHost(t *testing.T) {
	for _, c := range []struct {
		host string
		udp  bool
		port uint16
		want confine.Policy
	}{
		{"192.0.2.17", false, 1502, confine.Policy{ConnectTCP: []uint16{1502}}},
		{"2001:db8::7", false, 502, confine.Policy{ConnectTCP: []uint16{502}}},
		{"plc7.example", false, 502, confine.Policy{ConnectTCP: []uint16{502, 53}, ConnectUDP: []uint16{53}, Read: names}},
		{"192.0.2.17", true, 161, confine.Policy{ConnectUDP: []uint16{161}}},
		{"plc7.example", true, 161, confine.Policy{ConnectTCP: []uint16{53}, ConnectUDP: []uint16{161, 53}, Read: names}},
	} {
		var p confine.Policy
		add := p.AddHost
		if c.udp {
			add = p.AddUDPHost
		}
		add(c.host, c.port)
		add(c.host, c.port)
		if diff := cmp.Diff(c.want, p); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.host, diff)
		}
	}
}

func TestAddCertificates(t *testing.T) {
	var p confine.Policy
	p.AddCertificates()
	for _, path := range p.Read {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a directory of certificates that is not there: %v", err)
		}
	}
	if diff := cmp.Diff(confine.Policy{Read: p.Read}, p); diff != "" {
		t.Error(diff)
	}
}

func TestAddFile(t *testing.T) {
	s := newScene(t)
	if err := os.WriteFile(s.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want confine.Policy
	}{
		{s.TTY, confine.Policy{Devices: []string{s.TTY}}},
		{"/dev/ttyUSB77", confine.Policy{Devices: []string{"/dev/ttyUSB77"}}},
		{"/dev/../dev/ttyUSB77", confine.Policy{Devices: []string{"/dev/ttyUSB77"}}},
		{s.File, confine.Policy{Read: []string{s.File}}},
		{s.Outside, confine.Policy{}}, // a directory is too much
		{"/", confine.Policy{}},
		{"/nowhere", confine.Policy{}},
	} {
		var p confine.Policy
		p.AddFile(c.path)
		if diff := cmp.Diff(c.want, p); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", c.path, diff)
		}
	}
}

// What is allowed as a whole is told, and what is allowed by its port is not.
func TestOpenRightsAreTold(t *testing.T) {
	img := image(t)
	for _, c := range []struct {
		policy confine.Policy
		want   []string
	}{
		{confine.Policy{ConnectTCP: []uint16{502}, ConnectUDP: []uint16{502}}, nil},
		{confine.Policy{TCP: true}, []string{"tcp ports: every one is allowed"}},
		{confine.Policy{UDP: true, Unix: true}, []string{"udp ports: every one is allowed", "unix sockets: every one is allowed"}},
	} {
		c.policy.Mode = confine.Required
		r := start(t, c.policy, img, scene{}, "args")
		var told []string
		for _, text := range r.report.Missing {
			if what, _, open := strings.Cut(text, " is allowed: "); open {
				told = append(told, what+" is allowed")
			}
		}
		if diff := cmp.Diff(c.want, told); diff != "" || r.fault != nil && !strings.Contains(r.fault.Error(), "this machine lacks") {
			t.Errorf("%+v: %v, %s", c.policy, r.fault, diff)
		}
	}
}

// With any TCP port a process connects everywhere, and still listens nowhere.
func TestAnyTCP(t *testing.T) {
	img, s := image(t), newScene(t)
	p := confine.Policy{Mode: confine.BestEffort, TCP: true}
	for _, c := range []struct{ act, want string }{{"connect to another port", "allowed"}, {"connect to an allowed port", "allowed"}, {"listen on a TCP port", "refused"}} {
		r := start(t, p, img, s, c.act)
		lacks := strings.Contains(strings.Join(r.report.Missing, " "), "needs 4")
		if !strings.HasPrefix(r.out, c.want) && !lacks {
			t.Errorf("%s: %q, %v", c.act, r.out, &r.report)
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

// A process that may send to a port of UDP does, and one that may not has no such socket.
func TestUDPPort(t *testing.T) {
	img, s := image(t), newScene(t)
	_, digits, err := net.SplitHostPort(s.Datagrams)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	may, mayNot := confine.Policy{Mode: confine.BestEffort}, confine.Policy{Mode: confine.BestEffort}
	may.AddUDPHost("127.0.0.1", uint16(port))
	mayNot.AddHost("127.0.0.1", uint16(port))
	if r := start(t, may, img, s, "send a datagram (UDP)"); r.out != "allowed" {
		t.Errorf("to its port: %q, %v", r.out, &r.report)
	}
	if r := start(t, mayNot, img, s, "send a datagram (UDP)"); !strings.HasPrefix(r.out, "refused") {
		t.Errorf("with the same port of TCP alone: %q, %v", r.out, &r.report)
	}
}
