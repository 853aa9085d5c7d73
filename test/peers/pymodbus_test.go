//go:build peers

package peers_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/test/plant"
)

// A register is a value that pymodbus lays into registers and takes out of them.
type register struct {
	Address int             `json:"address"`
	Type    string          `json:"type"`
	Order   string          `json:"order"`
	Value   json.RawMessage `json:"value"`
}

// registerValues has a value to begin with and one to write, by type.
var registerValues = map[string][2]string{
	"int16": {"-12345", "4242"}, "uint16": {"65534", "513"},
	"int32": {"-1234567890", "305419896"}, "uint32": {"4026531842", "16909060"},
	"int64": {"-1234567890123456789", "81985529216486895"}, "uint64": {"18446744073709551614", "72623859790382856"},
	"float32": {"-1.375", "20.5"}, "float64": {"-0.1", "12345.678"},
}

func everyRegister() []register {
	var all []register
	for _, typ := range []string{"int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"} {
		for _, order := range []string{"abcd", "cdab", "badc", "dcba"} {
			all = append(all, register{10 + 7*len(all), typ, order, json.RawMessage(registerValues[typ][0])})
		}
	}
	return all
}

// pymodbus is a running server.
type pymodbus struct {
	t      *testing.T
	port   string
	stdin  io.Writer
	stdout *bufio.Reader
}

func startPymodbus(t *testing.T, registers []register, form ...string) *pymodbus {
	t.Helper()
	text, err := json.Marshal(registers)
	check(t, err)
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/pymodbus_server.py", string(text)}, form...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("pymodbus: %v\n%s", err, stderr.String())
		}
	})
	p := &pymodbus{t: t, stdin: stdin, stdout: bufio.NewReader(stdout)}
	p.port = strings.TrimSpace(p.line())
	return p
}

func (p *pymodbus) line() string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatalf("pymodbus: %v", err)
	}
	return line
}

// holds asks pymodbus what its holding registers hold.
func (p *pymodbus) holds() []string {
	p.t.Helper()
	_, err := fmt.Fprintln(p.stdin)
	check(p.t, err)
	var values []json.RawMessage
	check(p.t, json.Unmarshal([]byte(p.line()), &values))
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return texts
}

// What pymodbus encodes the gateway reads, from the device and out of its store,
// and what the gateway writes pymodbus decodes: each type in each order.
func TestPeerGatewayAgainstPymodbus(t *testing.T) {
	for _, form := range []string{"tcp", "udp", "rtu-tcp", "rtu", "ascii", "tls", "ser2net"} {
		t.Run(form, func(t *testing.T) { againstPymodbus(t, form) })
	}
}

// reach starts pymodbus, and returns it with the settings of a link to it.
func reach(t *testing.T, registers []register, form string) (server *pymodbus, link string) {
	t.Helper()
	switch form {
	case "rtu", "ascii", "ser2net":
		near, far := ttyPair(t)
		served := form
		if form == "ser2net" {
			served = "rtu"
		}
		server = startPymodbus(t, registers, served, far)
		if form == "ser2net" { // RFC 2217 to a program of others, and from there RTU
			return server, fmt.Sprintf("url: \"rfc2217://127.0.0.1:%s\", baud: 115200, parity: none", ser2net(t, near))
		}
		return server, fmt.Sprintf("url: %q, framing: %s, baud: 115200, parity: none", near, form)
	case "tls":
		cert, key := selfSigned(t)
		server = startPymodbus(t, registers, form, cert, key)
		return server, fmt.Sprintf("url: \"tls://127.0.0.1:%s\", tls: {ca: %q}", server.port, cert)
	case "rtu-tcp":
		server = startPymodbus(t, registers, form)
		return server, fmt.Sprintf("url: \"tcp://127.0.0.1:%s\", framing: rtu", server.port)
	}
	server = startPymodbus(t, registers, form)
	return server, fmt.Sprintf("url: \"%s://127.0.0.1:%s\"", form, server.port)
}

// selfSigned makes a certificate for 127.0.0.1 with its key, as files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return cert, key
}

// ttyPair is a line between two terminals, made by socat.
func ttyPair(t *testing.T) (near, far string) {
	t.Helper()
	dir := t.TempDir()
	near, far = filepath.Join(dir, "near"), filepath.Join(dir, "far")
	startProgram(t, "socat", "pty,raw,echo=0,link="+near, "pty,raw,echo=0,link="+far)
	plant.Eventually(t, patience, func() error {
		_, err := os.Stat(near)
		if err == nil {
			_, err = os.Stat(far)
		}
		return err
	})
	return near, far
}

// ser2net is a serial server on a tty, by RFC 2217; its port is returned.
func ser2net(t *testing.T, tty string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	check(t, err)
	check(t, l.Close())
	config := filepath.Join(t.TempDir(), "ser2net.yaml")
	check(t, os.WriteFile(config, fmt.Appendf(nil, "connection: &c\n  accepter: telnet(rfc2217),tcp,127.0.0.1,%s\n  connector: serialdev,%s,115200n81,local\n", port, tty), 0o600))
	startProgram(t, "ser2net", "-n", "-c", config)
	plant.Eventually(t, patience, func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return port
}

func againstPymodbus(t *testing.T, form string) {
	bins := plant.Build(t)
	registers := everyRegister()
	server, link := reach(t, registers, form)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "gateway: peers\n", pymodbusLinks(link, registers))
	g := bins.Start(t, dir)
	plant.Eventually(t, patience, func() error {
		_, err := g.CLI("read", "plc/d/*")
		return err
	})
	var first, second []string
	for _, r := range registers {
		first, second = append(first, registerValues[r.Type][0]), append(second, registerValues[r.Type][1])
	}
	expect(t, "holding registers before the writes", first, readAll(t, g, registers, "h"))
	expect(t, "input registers", first, readAll(t, g, registers, "i"))
	// A read proves no scan: what is to be stored must be so before it is overwritten.
	plant.Eventually(t, patience, func() error { return storedInTurn(g, len(registers), first) })
	for i := range registers {
		must(t, g, "write", fmt.Sprintf("plc/d/h%d", i), second[i])
	}
	must(t, g, "write", "plc/d/lamp", "true")
	expect(t, "what pymodbus decodes", second, server.holds())
	expect(t, "holding registers after the writes", second, readAll(t, g, registers, "h"))
	expect(t, "input registers after the writes", first, readAll(t, g, registers, "i"))
	plant.Eventually(t, patience, func() error { return storedInTurn(g, len(registers), first, second) })
	for i := range registers {
		must(t, g, "write", fmt.Sprintf("plc/d/h%d", i), "--", first[i])
	}
	expect(t, "what pymodbus decodes after the second writes", first, server.holds())
}

func pymodbusLinks(link string, registers []register) string {
	var b strings.Builder
	b.WriteString("links:\n  plc:\n    driver: modbus\n")
	for _, setting := range strings.Split(link, ", ") {
		fmt.Fprintf(&b, "    %s\n", setting)
	}
	b.WriteString("    scan: {default: 100ms}\n    devices:\n      d:\n        unit: 17\n        points:\n")
	b.WriteString("          lamp: {address: \"coil:3\", access: rw}\n          switch: {address: \"discrete:3\"}\n")
	for i, r := range registers {
		fmt.Fprintf(&b, "          h%d: {address: \"holding:%d:%s:%s\", access: rw}\n", i, r.Address, r.Type, r.Order)
		fmt.Fprintf(&b, "          i%d: {address: \"input:%d:%s:%s\"}\n", i, r.Address, r.Type, r.Order)
	}
	return b.String()
}

// readAll reads the points prefix0, prefix1 ... from the device.
func readAll(t *testing.T, g *plant.Gateway, registers []register, prefix string) []string {
	t.Helper()
	by := map[string]string{}
	for line := range bytes.Lines(must(t, g, "read", "plc/d/"+prefix+"*", "--json")) {
		var s plant.Sample
		check(t, json.Unmarshal(line, &s))
		by[s.Point] = string(s.Value)
	}
	var values []string
	for i := range registers {
		values = append(values, by[fmt.Sprintf("%s%d", prefix, i)])
	}
	return values
}

func expect(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// storedInTurn says what is wrong when the store does not have the first and then
// the second value of each holding register, and nothing else.
func storedInTurn(g *plant.Gateway, n int, want ...[]string) error {
	values := map[string][]string{}
	for _, s := range g.Stored("plc/d/h*") {
		v := values[s.Point]
		if s.Quality == "good" && (len(v) == 0 || v[len(v)-1] != string(s.Value)) {
			values[s.Point] = append(v, string(s.Value))
		}
	}
	for i := range n {
		var turns []string
		for _, values := range want {
			turns = append(turns, values[i])
		}
		if diff := cmp.Diff(turns, values[fmt.Sprintf("h%d", i)]); diff != "" {
			return fmt.Errorf("stored values of h%d (-want +got):\n%s", i, diff)
		}
	}
	return nil
}
