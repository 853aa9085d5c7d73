package launch

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
)

// policyOf is what the processes of a driver may do.
func policyOf(driverName string, m *pack.Manifest, bare bool, how config.Process, configs ...*config.Config) (confine.Policy, error) {
	g, err := grant(driverName, m, bare, how, configs...)
	return g.policy, err
}

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A driver is given what its manifest lets its own links name, and nothing of others'.
func TestPolicyIsWhatLinksName(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := parsed(t, `
links:
  a: {driver: modbus, url: "tcp://192.0.2.1:1502", note: "see http://, or /nowhere", devices: {d: {gateway: "tcp://192.0.2.2:1503"}}}
  b: {driver: modbus, url: "tcp://192.0.2.3"}
  c: {driver: mqtt, brokers: ["mqtts://broker.example:8884", "tcp://192.0.2.9:1"], tls: {ca: "`+ca+`"}}
  d: {driver: serial, port: /dev/ttyUSB7}
  e: {driver: modbus, port: /dev/ttyUSB8}
`)
	links := pack.Ports{FromLinks: true}
	endpoints := map[string]pack.Endpoints{
		"modbus": {"tcp": {Over: pack.OverTCP, Port: 502}},
		"mqtt":   {"tcp": {Over: pack.OverTCP, Port: 1883}, "mqtts": {Over: pack.OverTCP, Port: 8883, TLS: true}},
		"serial": {},
	}
	for _, q := range []struct {
		driver string
		wants  pack.Wants
		tcp    []uint16
		udp    []uint16
		ttys   []string
		reads  string
	}{
		{"modbus", pack.Wants{TCP: links}, []uint16{502, 1502, 1503}, nil, nil, ""},
		{"modbus", pack.Wants{TCP: links, Serial: true}, []uint16{502, 1502, 1503}, nil, []string{"/dev/ttyUSB8"}, ""},
		{"modbus", pack.Wants{}, nil, nil, nil, ""},
		{"modbus", pack.Wants{TCP: pack.Ports{List: []uint16{7}}}, []uint16{7, 53}, []uint16{53}, nil, ""},
		{"mqtt", pack.Wants{TCP: links}, []uint16{1, 53, 8884}, []uint16{53}, nil, ca},
		{"mqtt", pack.Wants{}, nil, nil, nil, ca},
		{"serial", pack.Wants{Serial: true}, nil, nil, []string{"/dev/ttyUSB7"}, ""},
		{"serial", pack.Wants{TCP: links}, nil, nil, nil, ""},
		{"nix", pack.Wants{TCP: links, Serial: true}, nil, nil, nil, ""},
	} {
		p, err := policyOf(q.driver, &pack.Manifest{Endpoints: endpoints[q.driver], Wants: q.wants}, false, config.Process{Confine: config.ConfineRequired}, c)
		if err != nil {
			t.Fatal(err)
		}
		sorted := cmpopts.SortSlices(func(a, b uint16) bool { return a < b })
		if diff := cmp.Diff(q.tcp, p.ConnectTCP, sorted, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %+v connects to %s", q.driver, q.wants, diff)
		}
		if diff := cmp.Diff(q.udp, p.ConnectUDP, sorted, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %+v sends to %s", q.driver, q.wants, diff)
		}
		if diff := cmp.Diff(q.ttys, p.Devices, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %+v has the ttys %s", q.driver, q.wants, diff)
		}
		if q.reads != "" && !slices.Contains(p.Read, q.reads) || slices.ContainsFunc(p.Read, func(s string) bool { return strings.HasPrefix(s, "/dev") }) {
			t.Errorf("%s %+v reads %v", q.driver, q.wants, p.Read)
		}
		if len(p.Write) != 0 || len(p.Execute) != 0 || p.Mode != confine.Required {
			t.Errorf("%s: %+v", q.driver, p)
		}
	}
}

// Each way to an endpoint has its right, where the manifest asks for it, and no other.
func TestPolicyOfEachWay(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all := pack.Endpoints{
		"tcp": {Over: pack.OverTCP, Port: 502}, "tls": {Over: pack.OverTCP, Port: 802, TLS: true}, "udp": {Over: pack.OverUDP, Port: 502},
		"rfc2217": {Over: pack.OverTCP}, "rtu": {Over: pack.OverSerial}, "file": {Over: pack.OverFile}, "unix": {Over: pack.OverUnix},
		"http": {Over: pack.OverNothing}, pack.HostPort: {Over: pack.OverTCP},
	}
	certificates := new(confine.Policy)
	certificates.AddCertificates()
	links, asked := pack.Ports{FromLinks: true}, pack.Wants{Serial: true, TCP: pack.Ports{FromLinks: true}, UDP: pack.Ports{FromLinks: true}, Unix: true}
	for _, q := range []struct {
		text  string
		wants pack.Wants
		want  confine.Policy
	}{
		{"tcp://192.0.2.1", asked, confine.Policy{ConnectTCP: []uint16{502}, Unix: true}},
		{"tls://192.0.2.1", pack.Wants{TCP: links}, confine.Policy{ConnectTCP: []uint16{802}, Read: certificates.Read}},
		{"udp://192.0.2.1", pack.Wants{UDP: links}, confine.Policy{ConnectUDP: []uint16{502}}},
		{"udp://192.0.2.1", pack.Wants{UDP: pack.Ports{Any: true}}, confine.Policy{UDP: true}},
		{"udp://192.0.2.1", pack.Wants{TCP: links}, confine.Policy{}},
		{"tcp://192.0.2.1", pack.Wants{UDP: links}, confine.Policy{}},
		{"rfc2217://192.0.2.1:2217", pack.Wants{TCP: links}, confine.Policy{ConnectTCP: []uint16{2217}}},
		{"192.0.2.1:4001", pack.Wants{TCP: links}, confine.Policy{ConnectTCP: []uint16{4001}}},
		{"rtu:///dev/ttyUSB9?baud=9600", pack.Wants{Serial: true}, confine.Policy{Devices: []string{"/dev/ttyUSB9"}}},
		{"rtu:///dev/ttyUSB9", pack.Wants{TCP: links}, confine.Policy{}},
		{"/dev/ttyUSB9", pack.Wants{Serial: true}, confine.Policy{Devices: []string{"/dev/ttyUSB9"}}},
		{"/dev/ttyUSB9", pack.Wants{}, confine.Policy{}},
		{"file://" + file, pack.Wants{}, confine.Policy{Read: []string{file}}},
		{file, pack.Wants{}, confine.Policy{Read: []string{file}}},
		{dir, pack.Wants{}, confine.Policy{}},
		{"unix://" + socket, pack.Wants{Unix: true}, confine.Policy{Unix: true}},
		{socket, pack.Wants{Unix: true}, confine.Policy{Unix: true}},
		{socket, pack.Wants{}, confine.Policy{}},
		{"http://acme.example:81/UA", asked, confine.Policy{Unix: true}},
		{"mqtt://192.0.2.1", asked, confine.Policy{Unix: true}},
	} {
		c := parsed(t, "links: {a: {driver: acme, devices: {d: {deep: [{url: '"+q.text+"'}]}}}}")
		m := &pack.Manifest{Name: "acme", Endpoints: all, Wants: q.wants}
		p, err := policyOf("acme", m, false, config.Process{Confine: config.ConfineRequired}, c)
		q.want.Mode = confine.Required
		if diff := cmp.Diff(ordered(q.want), p, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%s, %+v: %v, (-want +got)\n%s", q.text, q.wants, err, diff)
		}
	}
}

// A manifest that names no endpoints gives each port that a URL says. Where it says none,
// every port is given, but not where confinement is required.
func TestPolicyOfManifestsOfBefore(t *testing.T) {
	links := pack.Wants{TCP: pack.Ports{FromLinks: true}}
	for _, q := range []struct {
		text  string
		wants pack.Wants
		mode  config.Confinement
		tcp   []uint16
		any   bool
	}{
		{"tcp://192.0.2.1:1502", links, config.ConfineRequired, []uint16{1502}, false},
		{"opc.tcp://192.0.2.1:4840/x", links, config.ConfineBestEffort, []uint16{4840}, false},
		{"tcp://192.0.2.1", links, config.ConfineBestEffort, nil, true},
		{"tcp://192.0.2.1", links, config.ConfineRequired, nil, false},
		{"tcp://192.0.2.1", pack.Wants{}, config.ConfineBestEffort, nil, false},
		{"192.0.2.1:502", links, config.ConfineBestEffort, nil, false},
	} {
		c := parsed(t, "links: {a: {driver: acme, url: '"+q.text+"'}}")
		p, err := policyOf("acme", &pack.Manifest{Wants: q.wants}, false, config.Process{Confine: q.mode}, c)
		if diff := cmp.Diff(q.tcp, p.ConnectTCP, cmpopts.EquateEmpty()); diff != "" || p.TCP != q.any || err != nil {
			t.Errorf("%s, %+v: %v, any %v, %s", q.text, q.wants, err, p.TCP, diff)
		}
	}
}

// The operator's keys come before the manifest's, and a user must be one.
func TestPolicyOfTheOperator(t *testing.T) {
	m := &pack.Manifest{Wants: pack.Wants{Memory: 1 << 30, Files: []string{"/etc/acme"}, Write: []string{"/var/acme"}, Processes: 3}}
	c := parsed(t, "links: {a: {driver: acme}}")
	p, err := policyOf("acme", m, false, config.Process{Memory: 1 << 28}, c)
	if err != nil || p.Memory != 1<<28 || p.Processes != 3 || !slices.Contains(p.Read, "/etc/acme") || !slices.Contains(p.Write, "/var/acme") {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = policyOf("acme", m, false, config.Process{}, c); err != nil || p.Memory != 1<<30 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, user := range []string{"nobody-of-this-name", "root", "0:0"} {
		if _, err := policyOf("acme", m, false, config.Process{User: user}, c); err == nil || !strings.Contains(err.Error(), "processes.acme.user") {
			t.Errorf("user %s: %v", user, err)
		}
	}
}

// The rights of a driver do not depend on the order in which its settings are looked
// through, nor on what another gateway has written of them.
func TestPolicyIsTheSameEveryTime(t *testing.T) {
	c := parsed(t, `
links:
  c: {driver: mqtt, brokers: ["mqtts://broker.example:8884", "tcp://192.0.2.9:1"], tls: {ca: /etc/hosts, cert: /etc/passwd, key: /etc/group},
      will: {url: "tcp://192.0.2.9:7"}, one: "tcp://192.0.2.9:11", two: "tcp://192.0.2.9:5", three: "https://192.0.2.3/x"}
`)
	digests := make(map[string]confine.Policy)
	for range 200 {
		p, err := policyOf("mqtt", &pack.Manifest{Wants: pack.Wants{TCP: pack.Ports{FromLinks: true}}}, false, config.Process{Confine: config.ConfineRequired}, c)
		if err != nil {
			t.Fatal(err)
		}
		digests[digest(&p)] = p
		if p.ConnectTCP = slices.Clone(p.ConnectTCP); len(p.ConnectTCP) < 5 {
			t.Fatal(p.ConnectTCP)
		}
		slices.Reverse(p.ConnectTCP)
		p.Read = append(slices.Clone(p.Read), p.Read...)
		p.Devices = []string{}
		digests[digest(&p)] = p
	}
	if len(digests) != 1 {
		t.Errorf("200 looks at one configuration give %d digests: %v", len(digests), digests)
	}
}

// A file that a link names and that comes later is given to the driver then, and one that
// goes takes nothing from it.
func TestPolicyFollowsWhatComesLater(t *testing.T) {
	dir := t.TempDir()
	ca, link := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tty")
	c := parsed(t, `links: {a: {driver: serial, port: `+link+`, tls: {ca: `+ca+`}}}`)
	of := &depot.Image{Manifest: &pack.Manifest{Wants: pack.Wants{Serial: true}}}
	l := &Launcher{configs: func() []*config.Config { return []*config.Config{c} }}
	look := func() confine.Policy {
		t.Helper()
		p, err := l.policyFor("serial", of)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := look(); len(p.Read) > 0 || len(p.Devices) > 0 {
		t.Errorf("of what is not there: %+v", p)
	}
	if err := errors.Join(os.WriteFile(ca, nil, 0o600), os.Symlink("/dev/null", link)); err != nil {
		t.Fatal(err)
	}
	p := look()
	if !slices.Contains(p.Read, ca) || !slices.Contains(p.Devices, link) {
		t.Errorf("of what has come: %+v", p)
	}
	if err := errors.Join(os.Remove(ca), os.Remove(link)); err != nil {
		t.Fatal(err)
	}
	if again := look(); digest(&again) != digest(&p) {
		t.Errorf("of what has gone: %+v", again)
	}
}

// New processes are given at once for a new reason, and more and more seldom for one that
// they do not mend.
func TestRenewalPauses(t *testing.T) {
	var r Renewer
	now := time.Now()
	may := func(after time.Duration, why string, want bool) {
		t.Helper()
		now = now.Add(after)
		if got := r.may("serial", why, now); got != want {
			t.Errorf("after %v, %s: %v", after, why, got)
		}
	}
	may(0, "a port", true)
	may(2*time.Second, "another port", false)
	may(4*time.Second, "another port", true)
	may(30*time.Second, "another port", false)
	may(30*time.Second, "another port", true)
	may(time.Minute, "another port", false)
	may(time.Minute, "another port", true)
	may(6*time.Second, "a port", true)
	r.forget("serial")
	may(0, "a port", true)
	if !r.may("modbus", "a port", now) {
		t.Error("another driver waits too")
	}
}

// A process that outlives its gateway lacks the groups that the next one has.
func TestLackedGroups(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	have, err := confine.GroupsOf(os.Getpid())
	if err != nil || len(have) == 0 || slices.ContainsFunc(groups, func(g int) bool { return !slices.Contains(have, g) }) {
		t.Errorf("groups %v, read as %v, %v", groups, have, err)
	}
}

// Two policies that are the same have the same digest, and others another.
func TestDigest(t *testing.T) {
	a := confine.Policy{ConnectTCP: []uint16{1, 2}}
	b := confine.Policy{ConnectTCP: []uint16{1, 2}}
	c := confine.Policy{ConnectTCP: []uint16{1, 3}}
	if digest(&a) != digest(&b) || digest(&a) == digest(&c) {
		t.Error(digest(&a), digest(&b), digest(&c))
	}
}
