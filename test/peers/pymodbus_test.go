//go:build peers

package peers_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

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

func startPymodbus(t *testing.T, registers []register) *pymodbus {
	t.Helper()
	text, err := json.Marshal(registers)
	check(t, err)
	cmd := exec.Command("/usr/bin/python3", "testdata/pymodbus_server.py", string(text))
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
	bins := plant.Build(t)
	registers := everyRegister()
	server := startPymodbus(t, registers)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "gateway: peers\n", pymodbusLinks(server.port, registers))
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

func pymodbusLinks(port string, registers []register) string {
	var b strings.Builder
	fmt.Fprintf(&b, "links:\n  plc:\n    driver: modbus\n    url: \"tcp://127.0.0.1:%s\"\n    scan: {default: 100ms}\n    devices:\n      d:\n        unit: 17\n        points:\n", port)
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
