//go:build peers

package serial_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestPeerSocat talks over a pair of terminals that socat joins, with an instrument
// that is a shell.
func TestPeerSocat(t *testing.T) {
	dir := t.TempDir()
	near, far := filepath.Join(dir, "near"), filepath.Join(dir, "far")
	cmd := exec.Command("socat", "-d", "-d", "PTY,raw,echo=0,link="+near, "PTY,raw,echo=0,link="+far)
	stderr, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for s := bufio.NewScanner(stderr); s.Scan() && !strings.Contains(s.Text(), "starting data transfer loop"); {
	}
	port, err := os.OpenFile(far, os.O_RDWR, 0)
	check(t, err)
	defer func() { check(t, port.Close()) }()
	shell := exec.Command("sh", "-c", `while read -r line; do case "$line" in MEAS*) printf 'T=21.5 H=40\n';; SP*) printf 'OK\n';; esac; done`)
	shell.Stdin, shell.Stdout = port, port
	check(t, shell.Start())
	defer func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
	}()
	l := openLink(t, &instrument{t: t, path: near}, patience, `, "baud": 115200, "terminator": "\n"`)
	cfg := config(t, `{"requests": {"m": {"send": "MEAS?", "expect": "^T=(?P<t>\\S+) H=(\\S+)$"}}, "writes": {"sp": {"send": "SP {value:.2f}", "expect": "^OK$"}}}`,
		"m:t set=sp", "m:2:integer")
	read := reader(t, l, cfg)
	start := time.Now()
	const n = 200
	for range n {
		out, err := read()
		check(t, err)
		if describe(out[0]) != "21.5 float64 good" || describe(out[1]) != "40 int64 good" {
			t.Fatalf("got %s and %s", describe(out[0]), describe(out[1]))
		}
	}
	t.Logf("%d requests in %v", n, time.Since(start))
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	check(t, d.(driver.Writer).Write(t.Context(), cfg.Points[0], driver.Float64Value(20)))
}
