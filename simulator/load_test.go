package simulator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/simulator"
)

// config writes a file and loads it.
func config(t *testing.T, text string) (*simulator.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sim.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return simulator.Load(path)
}

// documented takes the second, full example out of the package comment.
func documented(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(source), "All there is:\n")
	if !ok {
		t.Fatal("the package comment has no full example")
	}
	var out strings.Builder
	for _, line := range strings.Split(rest, "\n")[1:] {
		text, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			break
		}
		out.WriteString(text + "\n")
	}
	return out.String()
}

// The documented file is loaded and runs, on other ports than it says.
func TestDocumentedFile(t *testing.T) {
	dir := t.TempDir()
	text := strings.NewReplacer("127.0.0.1:1502", "127.0.0.1:0", "127.0.0.1:1883", "127.0.0.1:0").Replace(documented(t))
	for name, content := range map[string]string{"sim.yaml": text, "kg.csv": "s,kg\n0,1.25\n10,2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := simulator.Load(filepath.Join(dir, "sim.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sim := simulator.Start(t, *cfg)
	if n := len(sim.Witness().Names()); n != 10+1000+1 {
		t.Errorf("%d devices", n)
	}
	for point, want := range map[string]any{"setpoint": 20.5, "serial": "A-0042", "run": true, "slot": uint64(0)} {
		if v, err := sim.Device("u10").Get(point); err != nil || v != want {
			t.Errorf("u10/%s is %v (%T), %v; want %v", point, v, v, err, want)
		}
	}
	f, r := openTTY(t, filepath.Join(dir, "scales.tty"))
	for request, reply := range map[string]string{"W": "001.250 kg", "T 0.5": "ok"} {
		got := exchange(t, f, r, request)
		for got == "1.2" { // sent without being asked
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got = strings.TrimSpace(line)
		}
		if got != reply {
			t.Errorf("scale says %q to %q", got, request)
		}
	}
	want := []simulator.Scheduled{
		{Server: "plant", Fault: simulator.Fault{Kind: simulator.Refused}, At: 30 * time.Second, For: 10 * time.Second},
		{Device: "u3", Fault: simulator.Fault{Kind: simulator.Slow, Delay: 250 * time.Millisecond}, At: 5 * time.Second},
	}
	if diff := cmp.Diff(want, cfg.Schedule); diff != "" {
		t.Errorf("schedule (-want +got):\n%s", diff)
	}
}

func TestRangesInFile(t *testing.T) {
	cfg, err := config(t, `
images:
  i:
    points:
      slot: {address: "input:0", type: uint32, signal: slot}
      r[2..4]: {address: "holding:{10*n+1}", signal: {constant: "{n}"}}
servers:
  s[1..2]:
    devices:
      d{n}-[1..3]: {unit: "{n}", image: i}
`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range cfg.Servers {
		for _, d := range s.Devices {
			names = append(names, s.Name+"/"+d.Name)
		}
	}
	if diff := cmp.Diff([]string{"s1/d1-1", "s1/d1-2", "s1/d1-3", "s2/d2-1", "s2/d2-2", "s2/d2-3"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	var addresses []string
	for _, p := range cfg.Servers[0].Devices[0].Image.Points {
		addresses = append(addresses, p.Name+" "+p.Address)
	}
	if diff := cmp.Diff([]string{"slot input:0", "r2 holding:21", "r3 holding:31", "r4 holding:41"}, addresses); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// Each wrong file is one complaint, at its place.
func TestWrongFiles(t *testing.T) {
	const s = "servers:\n  s:\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ":1:1: empty"},
		{"no mapping", "- 1\n", ":1:1: a mapping"},
		{"no server", "images: {}\n", "there is no server"},
		{"syntax", "servers: {a\n", ":1:11: "},
		{"two documents", "servers: {}\n---\nservers: {}\n", "more than one document"},
		{"unknown key", s + "    devcies: {}\n", ":3:5: servers.s: unknown key \"devcies\": it is one of alone, baud, bytes, devices"},
		{"key twice", s + "    baud: 1\n    baud: 2\n", ":4:5: "},
		{"no devices", s + "    listen: localhost:0\n", "servers.s: a server needs devices"},
		{"unknown protocol", s + "    protocol: opc\n    devices: {d: {}}\n", `protocol "opc" is unknown`},
		{"unknown image", s + "    devices:\n      d: {image: meter}\n", `:4:18: servers.s.devices.d.image: there is no image "meter"`},
		{"device twice", s + "    devices: {d: {}}\n  t:\n    devices:\n      d: {}\n", ":6:"},
		{"device twice by range", s + "    devices:\n      d2: {unit: 9}\n      d[1..3]: {unit: \"{n}\"}\n", `"d2" is there twice`},
		{"unit", s + "    devices: {d: {unit: 300}}\n", `"300" is no integer from 1 to 255`},
		{"unit twice", s + "    devices:\n      d: {unit: 3}\n      e: {unit: 3}\n", ":5:10: servers.s.devices.e: device d has unit 3"},
		{"unit missing", s + "    devices:\n      d: {}\n      e: {unit: 3}\n", "servers.s.devices.d: one of several devices of a server needs a unit"},
		{"address", "images: {i: {points: {p: {address: 40001}}}}\nservers: {s: {devices: {d: {}}}}\n", `:1:36: images.i.points.p.address: address "40001"`},
		{"address too high", "images: {i: {points: {p: {address: \"coil:65536\"}}}}\nservers: {s: {devices: {d: {}}}}\n", "not within 0 to 65535"},
		{"type", "images:\n  i:\n    points: {p: {address: \"input:0\", type: int24}}\nservers: {s: {devices: {d: {}}}}\n", `images.i: point "p": type "int24" is unknown`},
		{"overlap", "images:\n  i:\n    points: {p: {address: \"input:0\", type: int32}, q: {address: \"input:1\"}}\nservers: {s: {devices: {d: {}}}}\n", `points "p" and "q" overlap`},
		{"range", "images: {i: {ranges: [\"holding:9-3\"]}}\nservers: {s: {devices: {d: {}}}}\n", `"3" is not within 9 to 65535`},
		{"signal", "images: {i: {points: {p: {address: \"input:0\", signal: {rampe: {}}}}}}\nservers: {s: {devices: {d: {}}}}\n", `unknown key "rampe"`},
		{"two signals", "images: {i: {points: {p: {address: \"input:0\", signal: {ramp: {}, sine: {}}}}}}\nservers: {s: {devices: {d: {}}}}\n", "a signal has one kind"},
		{"csv", "images: {i: {points: {p: {address: \"input:0\", signal: {csv: {file: none.csv}}}}}}\nservers: {s: {devices: {d: {}}}}\n", ":1:68: images.i.points.p.signal.csv.file: replay"},
		{"topic", s + "    protocol: mqtt\n    devices:\n      d: {publish: [{topic: a/#, every: 1s}]}\n", `:5:`},
		{"period", s + "    protocol: mqtt\n    devices:\n      d: {publish: [{topic: a, every: 1ms}]}\n", "a period is at least"},
		{"payload", s + "    protocol: mqtt\n    devices:\n      d: {publish: [{topic: a, payload: \"{x}\"}]}\n", `no point "x"`},
		{"duration", s + "    protocol: mqtt\n    devices:\n      d: {publish: [{topic: a, every: 5}]}\n", `"5" is no duration`},
		{"qos", s + "    protocol: mqtt\n    devices:\n      d: {publish: [{topic: a, qos: 2}]}\n", `"2" is no integer from 0 to 1`},
		{"pattern", s + "    protocol: serial\n    devices:\n      d: {exchange: [{match: \"(\"}]}\n", "no regular expression"},
		{"group", s + "    protocol: serial\n    devices:\n      d: {exchange: [{match: \"(?P<x>.)\"}]}\n", `no writable point "x"`},
		{"listen of serial", s + "    protocol: serial\n    listen: localhost:1\n    devices: {d: {}}\n", "does not listen"},
		{"baud of modbus", s + "    baud: 9600\n    devices: {d: {}}\n", "belong to a serial server"},
		{"unit of mqtt", s + "    protocol: mqtt\n    devices:\n      d: {unit: 1}\n", "belong to a device of a modbus server"},
		{"fault", s + "    devices: {d: {}}\nschedule:\n  - {device: d, fault: refused}\n", ":5:5: schedule[0]: a modbus device has no fault \"refused\""},
		{"target", s + "    devices: {d: {}}\nschedule:\n  - {device: x, fault: silent}\n", "neither one server nor one device"},
		{"range too large", s + "    devices:\n      d[1..999999999]: {}\n", ":4:7: servers.s.devices: range"},
		{"ranges in ranges", "servers:\n  s[1..1000]:\n    devices:\n      d{n}-[1..1000]: {unit: 1}\n", "more than 200000 entries"},
		{"deep", strings.Repeat("[", 200), "nested too deep"},
		{"long", "#" + strings.Repeat("x", 2<<20), "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config(t, c.text)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one complaint: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "sim.yaml") {
				t.Errorf("error %q, want %q", err, c.want)
			}
		})
	}
}
