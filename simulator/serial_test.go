package simulator_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// openTTY opens a tty as a driver would, with a descriptor that does not block.
func openTTY(t *testing.T, path string) (*os.File, *bufio.Reader) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return f, bufio.NewReader(f)
}

// exchange sends a line and reads one.
func exchange(t *testing.T, f *os.File, r *bufio.Reader, request string) string {
	t.Helper()
	if _, err := f.WriteString(request + "\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v (so far %q)", request, err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

func TestInstrumentsShareALine(t *testing.T) {
	sim := simulator.Start(t, simulator.SerialLine(3, 0))
	f, r := openTTY(t, sim.Addr("serial"))
	for slot := 1; slot <= 3; slot++ {
		for n := 1; n <= 3; n++ {
			got := exchange(t, f, r, fmt.Sprintf("?%d", n))
			if !strings.HasPrefix(got, fmt.Sprintf("%d %d ", n, slot)) {
				t.Errorf("?%d: %q, want slot %d", n, got, slot)
			}
		}
	}
	if got := exchange(t, f, r, "!2 7.25"); got != "ok" {
		t.Errorf("write: %q", got)
	}
	if got := exchange(t, f, r, "?2"); got != "2 4 7.25" {
		t.Errorf("after a write: %q", got)
	}
	w := sim.Device("s2").Writes()
	if len(w) != 1 || w[0].Value != 7.25 || w[0].Point != "temperature" {
		t.Errorf("writes %+v", w)
	}
	if n := sim.Device("s2").Counts(); n.Requests != 5 || n.Polls != 4 || n.Answers != 5 {
		t.Errorf("counts %+v", n)
	}
}

func TestLineComesAndGoes(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	cfg := simulator.SerialLine(1, 0)
	cfg.Servers[0].Line.Link = link
	sim := simulator.Start(t, cfg)
	for slot := 1; slot <= 3; slot++ {
		f, r := openTTY(t, sim.Addr("serial"))
		if got := exchange(t, f, r, "?1"); !strings.HasPrefix(got, fmt.Sprintf("1 %d ", slot)) {
			t.Errorf("%q, want slot %d", got, slot)
		}
		if slot == 2 {
			if err := sim.Server("serial").Fault(simulator.Fault{Kind: simulator.Refused}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.ReadByte(); err == nil {
				t.Error("a byte came from a line that has hung up")
			}
			if _, err := os.Lstat(link); err == nil {
				t.Error("the link is there although the line has hung up")
			}
			if err := sim.Server("serial").Clear(); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); err == nil {
		t.Error("the link is left")
	}
}

func TestTelegramsAreHeardWhole(t *testing.T) {
	cfg := simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "scale", Protocol: simulator.Serial, Line: simulator.Line{Baud: 115200, End: "\n"},
		Devices: []simulator.DeviceConfig{{
			Name:   "scale1",
			Points: []simulator.Point{{Name: "n", Signal: signal.Slot()}, {Name: "kg", Signal: signal.Constant(signal.Float(1.5))}},
			Send:   []simulator.Telegram{{Line: "{n} {kg:%06.2f} kg", Every: 10 * time.Millisecond}},
		}},
	}}}
	sim := simulator.Start(t, cfg)
	_, r := openTTY(t, sim.Addr("scale"))
	for want := 1; want <= 20; want++ {
		line, err := r.ReadString('\n')
		if err != nil || line != fmt.Sprintf("%d 001.50 kg\n", want) {
			t.Fatalf("line %q, want number %d: %v", line, want, err)
		}
	}
}

func TestBaudRatePacesBytes(t *testing.T) {
	sim := simulator.Start(t, simulator.SerialLine(1, 2400))
	f, r := openTTY(t, sim.Addr("serial"))
	start := time.Now()
	line := exchange(t, f, r, "?1")
	if least := time.Duration(len(line)) * time.Second / 240; time.Since(start) < least {
		t.Errorf("%d bytes came in %v, faster than %v", len(line), time.Since(start), least)
	}
}
