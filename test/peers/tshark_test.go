//go:build peers

package peers_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

// wrong is what Wireshark complains about: a frame cut short or too long for its
// function, one that is no Modbus, and every expert's warning or error.
const wrong = `_ws.malformed || mbtcp.cannot_classify || (mbtcp.prot_id && mbtcp.prot_id != 0) || (mbtcp.len && (mbtcp.len < 2 || mbtcp.len > 254)) ||
	(modbus && data.len > 0) || (mbtcp && _ws.expert.severity >= "Warning") || (tcp.len > 0 && !mbtcp)`

// capture is what tshark saw of one port.
type capture struct {
	t    *testing.T
	file string
	port string
}

// captureOf captures what goes over a port of the loopback while during runs.
func captureOf(t *testing.T, addr string, during func()) *capture {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	check(t, err)
	c := &capture{t: t, file: filepath.Join(t.TempDir(), "lo.pcapng"), port: port}
	p := startProgram(t, "tshark", "-i", "lo", "-B", "64", "-f", "tcp port "+port, "-w", c.file)
	p.printed("Capturing on")
	c.probe(addr)
	during()
	c.probe(addr)
	p.interrupt()
	return c
}

// probe waits until a connection is in the file, and all that was before it: what
// tshark prints says neither that it captures nor that it has written everything.
func (c *capture) probe(addr string) {
	c.t.Helper()
	plant.Eventually(c.t, patience, func() error {
		conn, err := net.Dial("tcp", addr)
		check(c.t, err)
		_, port, err := net.SplitHostPort(conn.LocalAddr().String())
		check(c.t, err)
		check(c.t, conn.Close())
		rows, err := c.find("tcp.srcport == "+port, "frame.number")
		if err == nil && len(rows) == 0 {
			return fmt.Errorf("a connection from port %s is not captured", port)
		}
		return err
	})
}

// rows is find on a file that is complete.
func (c *capture) rows(filter string, fields ...string) [][]string {
	c.t.Helper()
	rows, err := c.find(filter, fields...)
	check(c.t, err)
	return rows
}

// find gives fields of each packet that fits filter; values of several frames in
// one packet are joined by commas.
func (c *capture) find(filter string, fields ...string) ([][]string, error) {
	args := []string{"-r", c.file, "-o", "mbtcp.tcp.port:" + c.port, "-d", "tcp.port==" + c.port + ",mbtcp", "-Y", filter, "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("tshark -Y %q: %w", filter, err)
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

// functions counts the frames that fit filter by function code.
func (c *capture) functions(filter string) map[string]uint64 {
	c.t.Helper()
	counts := map[string]uint64{}
	for _, row := range c.rows(filter, "modbus.func_code") {
		for code := range strings.SplitSeq(row[0], ",") {
			counts[code]++
		}
	}
	return counts
}

// lengths compares the length of each frame with what its function and its count of
// bytes ask for, which Wireshark does not.
func (c *capture) lengths() (complaints []string) {
	c.t.Helper()
	for _, row := range c.rows("modbus && !modbus.exception_code", "tcp.dstport", "modbus.func_code", "mbtcp.len", "modbus.byte_cnt", "frame.number") {
		query := row[0] == c.port
		lengths, counts := numbers(row[2]), numbers(row[3])
		for i, code := range numbers(row[1]) {
			want := 6
			switch {
			case code == 22:
				want = 8
			case len(counts) > 0 && query && code > 6:
				want, counts = 7+counts[0], counts[1:]
			case len(counts) > 0 && !query && code < 5:
				want, counts = 3+counts[0], counts[1:]
			}
			if lengths[i] != want {
				complaints = append(complaints, fmt.Sprintf("packet %s: function %d with the length %d, not %d", row[4], code, lengths[i], want))
			}
		}
	}
	return complaints
}

func numbers(list string) []int {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		if n, err := strconv.Atoi(text); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func fleetOfTypes() simulator.Config {
	image := &simulator.Image{
		Points: []simulator.Point{
			{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()},
			{Name: "word", Address: "holding:10", Writable: true},
			{Name: "long", Address: "holding:11", Type: "int32", Order: "cdab", Writable: true},
			{Name: "real", Address: "holding:13", Type: "float64", Order: "dcba", Writable: true},
			{Name: "text", Address: "holding:20", Type: "string", Length: 12, Writable: true},
			{Name: "flags", Address: "holding:30", Writable: true},
			{Name: "coil", Address: "coil:5", Writable: true},
			{Name: "contact", Address: "discrete:3", Signal: signal.Constant(signal.Bool(true))},
			{Name: "wave", Address: "input:7", Type: "float32", Signal: signal.Sine(20, 5, time.Second)},
		},
		Ranges: []string{"holding:0-99", "coil:0-15", "discrete:0-15", "input:0-15"},
	}
	srv := simulator.ServerConfig{Name: "port", Protocol: simulator.Modbus}
	for i := range 20 {
		srv.Devices = append(srv.Devices, simulator.DeviceConfig{Name: fmt.Sprintf("m%d", i+1), Unit: byte(i + 1), Image: image, Seed: uint64(i + 1)})
	}
	return simulator.Config{Servers: []simulator.ServerConfig{srv}}
}

const fleetLinks = `templates:
  device:
    points:
      slot: {address: "holding:0:uint32"}
      word: {address: "holding:10", access: rw}
      long: {address: "holding:11:int32:cdab", access: rw}
      real: {address: "holding:13:float64:dcba", access: rw}
      text: {address: "holding:20:string:12", access: rw}
      bit: {address: "holding:30.9", access: rw}
      coil: {address: "coil:5", access: rw}
      contact: {address: "discrete:3"}
      wave: {address: "input:7:float32"}
links:
  plc:
    driver: modbus
    url: "tcp://%s"
    window: %d
    scan: {default: 100ms}
    devices:
      m[1..20]: {template: device, unit: "{n}"}
      outside: {unit: 3, points: {illegal: {address: "holding:200"}}}
`

// Wireshark finds nothing wrong with a frame of a whole run, and counts the same
// frames as the simulator.
func TestPeerTshark(t *testing.T) {
	for _, window := range []int{1, 8} {
		t.Run(fmt.Sprintf("window=%d", window), func(t *testing.T) { tsharkRun(t, window) })
	}
}

func tsharkRun(t *testing.T, window int) {
	bins := plant.Build(t)
	sim := simulator.Start(t, fleetOfTypes())
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "gateway: peers\n", fmt.Sprintf(fleetLinks, sim.Addr("port"), window))
	c := captureOf(t, sim.Addr("port"), func() {
		g := bins.Start(t, dir)
		waitPolls(t, sim, 5)
		for _, w := range [][2]string{
			{"m1/word", "4711"}, {"m2/long", "-100000"}, {"m3/real", "2.5"}, {"m4/text", "Grüße"},
			{"m5/bit", "true"}, {"m5/bit", "false"}, {"m6/coil", "true"}, {"m20/word", "0"},
		} {
			must(t, g, "write", "plc/"+w[0], "--", w[1])
		}
		if out, err := g.CLI("read", "plc/outside/illegal"); err == nil {
			t.Errorf("an address outside was read: %s", out)
		}
		waitPolls(t, sim, 5)
		g.Stop()
	})
	complaints := c.rows(wrong, "frame.number", "_ws.col.Info", "_ws.expert.message")
	for _, row := range complaints[:min(len(complaints), 10)] {
		t.Errorf("one of %d wrong packets, %s: %s", len(complaints), row[0], strings.Join(row[1:], " "))
	}
	if wrong := c.lengths(); len(wrong) > 0 {
		t.Errorf("%d frames have a wrong length: %v", len(wrong), wrong[:min(len(wrong), 10)])
	}
	asked := c.functions("mbtcp && tcp.dstport == " + c.port)
	answered := c.functions("mbtcp && tcp.srcport == " + c.port)
	served := map[string]uint64{}
	for i := range 20 {
		for name, n := range sim.Device(fmt.Sprintf("m%d", i+1)).Counts().Functions {
			served[name] += n
		}
	}
	t.Logf("functions asked %v, answered %v, by the simulator's count %v", asked, answered, served)
	var total, witness uint64
	for _, code := range []string{"1", "2", "3", "4", "5", "6", "16", "22"} {
		if asked[code] == 0 {
			t.Errorf("function %s was never asked", code)
		}
	}
	for _, n := range asked {
		total += n
	}
	for _, n := range served {
		witness += n
	}
	if total != witness {
		t.Errorf("Wireshark saw %d requests, the simulator %d", total, witness)
	}
	if n := len(c.rows("modbus.exception_code == 2", "frame.number")); n == 0 {
		t.Error("no exception was seen")
	}
}

// waitPolls waits until each device has served so many more polls.
func waitPolls(t *testing.T, sim *simulator.Simulator, more uint64) {
	t.Helper()
	want := map[string]uint64{}
	for i := range 20 {
		name := fmt.Sprintf("m%d", i+1)
		want[name] = sim.Device(name).Slot() + more
	}
	plant.Eventually(t, patience, func() error {
		for name, n := range want {
			if have := sim.Device(name).Slot(); have < n {
				return fmt.Errorf("%s served %d polls of %d", name, have, n)
			}
		}
		return nil
	})
}

// What TestPeerTshark looks for is found where it is.
func TestPeerTsharkFindsWhatIsWrong(t *testing.T) {
	for name, frame := range map[string][]byte{
		"registers missing": {3, 16, 0, 0, 0, 4, 8, 0, 1},
		"bytes too many":    {3, 3, 0, 0, 0, 4, 9, 9},
		"no pdu":            {3},
		"another protocol":  append([]byte{0xFF}, make([]byte, 12)...),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			defer func() { check(t, l.Close()) }()
			c := captureOf(t, l.Addr().String(), func() {
				conn, err := net.Dial("tcp", l.Addr().String())
				check(t, err)
				header := binary.BigEndian.AppendUint16([]byte{0, 1, 0, 0}, uint16(len(frame)))
				if frame[0] == 0xFF {
					header[2] = 7
				}
				_, err = conn.Write(append(header, frame...))
				check(t, err)
				check(t, conn.Close())
			})
			if len(c.rows(wrong, "frame.number"))+len(c.lengths()) == 0 {
				t.Errorf("not found: %v", c.rows("tcp.len > 0", "frame.number", "_ws.col.Info"))
			}
		})
	}
}

// Wireshark finds nothing wrong with RTU frames over TCP either: each is whole, and its CRC is
// right.
func TestPeerTsharkRTU(t *testing.T) {
	bins := plant.Build(t)
	config := fleetOfTypes()
	config.Servers[0].Framing = "rtu"
	sim := simulator.Start(t, config)
	dir := t.TempDir()
	links := strings.Replace(fmt.Sprintf(fleetLinks, sim.Addr("port"), 1), "window: 1", "framing: rtu", 1)
	bins.WriteConfig(t, dir, "gateway: peers\n", links)
	c := captureOf(t, sim.Addr("port"), func() {
		g := bins.Start(t, dir)
		waitPolls(t, sim, 5)
		for _, w := range [][2]string{{"m1/word", "4711"}, {"m3/real", "2.5"}, {"m5/bit", "true"}, {"m6/coil", "true"}} {
			must(t, g, "write", "plc/"+w[0], "--", w[1])
		}
		waitPolls(t, sim, 5)
		g.Stop()
	})
	rtu := func(filter string, fields ...string) [][]string {
		args := []string{"-r", c.file, "-o", "mbrtu.crc_verification:TRUE", "-d", "tcp.port==" + c.port + ",mbrtu", "-Y", filter, "-T", "fields"}
		for _, f := range fields {
			args = append(args, "-e", f)
		}
		out, err := exec.Command("tshark", args...).Output()
		if err != nil {
			t.Fatalf("tshark -Y %q: %v", filter, err)
		}
		var rows [][]string
		for line := range strings.Lines(string(out)) {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
		return rows
	}
	frames := rtu("mbrtu", "frame.number")
	bad := rtu(`_ws.malformed || mbrtu.crc16.incorrect || mbrtu.crc16.status == "Bad" || (tcp.len > 0 && !mbrtu)`, "frame.number", "_ws.col.Info")
	if len(frames) < 500 || len(bad) > 0 {
		t.Errorf("%d frames, %d of them wrong: %v", len(frames), len(bad), bad[:min(len(bad), 10)])
	}
}
