package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/test/nasty"
	"github.com/fieldloom/fieldloom/test/plant"
)

// A driver that reaches for the gateway's API is kept out of it: by a connection that it
// opened before its handshake, by a new one, by a child, by one whose parent has gone, and by
// one that left its session. Confined it does not come as far as a connection; unconfined
// the gateway knows it.
func TestDriverReachesForTheAPI(t *testing.T) {
	for _, c := range []struct{ name, main, wants string }{
		{"confined, with ports", "", `{"tcp": [502], "udp": true}`},
		{"confined, with other processes' sockets", "", `{"tcp": [502], "unix": true}`},
		{"confined, detached", "detach: true\n", `{"tcp": [502]}`},
		{"unconfined", "confine: off\n", "{}"},
		{"unconfined, detached", "confine: off\ndetach: true\n", "{}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "reach") // short, and known before the driver is built
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			socket := filepath.Join(dir, "data", "fieldloom.sock")
			program := plant.Compile(t, "./test/chaos/nasty", "-X main.target="+socket)
			p := nasty.Start(t, program, nasty.Config{Driver: "nasty", Main: c.main, Dir: dir, Wants: c.wants})
			p.Healthy()
			p.Do("reach " + socket)
			plant.Eventually(t, nasty.Patience, func() error { return keptOut(p.Lines()) })
			if err := p.EachOnce(); err != nil {
				t.Error(err)
			}
		})
	}
}

// keptOut reports what of a driver's lines says that it came in, or that it has not tried
// all yet.
func keptOut(lines string) error {
	var tried []string
	for line := range strings.Lines(lines) {
		for _, way := range []string{"early", "now", "child", "orphan", "demon"} {
			if strings.Contains(line, " "+way+": reached it") {
				return fmt.Errorf("it came in: %s", line)
			}
			if strings.Contains(line, " "+way+": kept out") && !slices.Contains(tried, way) {
				tried = append(tried, way)
			}
		}
	}
	if len(tried) < 5 {
		return fmt.Errorf("it has tried %v:\n%s", tried, lines)
	}
	return nil
}
