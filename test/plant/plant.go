// Package plant runs the built gateway for tests that look at it from outside:
// its processes, its API, its spool.
package plant

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Binaries is a folder with `fieldloom` and `drivers/` as `make build` lays it out.
type Binaries string

// made tells Run whether there is anything to remove.
var made atomic.Bool

var build = sync.OnceValues(func() (Binaries, error) {
	made.Store(true)
	dir, err := os.MkdirTemp("", "fieldloom-bin-")
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(dir, "drivers"), 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "./cmd/fieldloom",
		"./drivers/modbus/cmd/driver-modbus", "./drivers/mqtt/cmd/driver-mqtt", "./drivers/serial/cmd/driver-serial")
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return Binaries(dir), packBuilt(Binaries(dir))
})

// root is the folder of go.mod.
func root() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// Build builds the gateway and the drivers, once a test process. Call Clean
// from TestMain to remove them.
func Build(t testing.TB) Binaries {
	t.Helper()
	bins, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bins
}

// Run is a TestMain: it runs the tests and removes what Build made.
func Run(m *testing.M) int {
	code := m.Run()
	if made.Load() {
		if bins, err := build(); err == nil {
			os.RemoveAll(string(bins))
		}
	}
	return code
}

// A Gateway is one running `fieldloom run`.
type Gateway struct {
	t    testing.TB
	bins Binaries
	Dir  string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	mu   sync.Mutex
	done chan error
}

// WriteConfig lays fieldloom.yaml and one links file into dir. The drivers are
// those of bins, and end with the gateway unless main says that they are detached.
func (b Binaries) WriteConfig(t testing.TB, dir, main, links string) {
	t.Helper()
	if !strings.Contains(main, "detach:") {
		main = "detach: false\n" + main
	}
	if !strings.Contains(main, "drivers:") {
		main = fmt.Sprintf("drivers: %q\n", b.Drivers()) + main
	}
	for name, text := range map[string]string{"fieldloom.yaml": main, "links/links.yaml": links} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Start runs the gateway over the configuration in dir; it is stopped with the test.
func (b Binaries) Start(t testing.TB, dir string) *Gateway {
	t.Helper()
	return b.start(t, dir, exec.Command(filepath.Join(string(b), "fieldloom"), "run", "--config", dir))
}

// StartWithFiles runs the gateway as Start does, where a process may open so many files.
func (b Binaries) StartWithFiles(t testing.TB, dir string, files int) *Gateway {
	t.Helper()
	return b.start(t, dir, b.WithFiles(files, "run", "--config", dir))
}

// WithFiles is a command of the gateway's command line that may open so many files.
func (b Binaries) WithFiles(files int, args ...string) *exec.Cmd {
	script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files)
	return exec.Command("sh", append([]string{"-c", script, filepath.Join(string(b), "fieldloom")}, args...)...)
}

func (b Binaries) start(t testing.TB, dir string, cmd *exec.Cmd) *Gateway {
	t.Helper()
	g := &Gateway{t: t, bins: b, Dir: dir, done: make(chan error, 1), log: &bytes.Buffer{}, cmd: cmd}
	g.cmd.Stderr = lockedWriter{g}
	g.cmd.Stdout = g.cmd.Stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.done <- g.cmd.Wait() }()
	t.Cleanup(func() {
		if g.cmd.ProcessState == nil {
			g.Stop()
		}
		if t.Failed() {
			t.Logf("gateway's log:\n%s", tail(g.Log(), 60))
		}
	})
	return g
}

type lockedWriter struct{ g *Gateway }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	return w.g.log.Write(p)
}

// Log returns what the gateway has printed.
func (g *Gateway) Log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// PID is the gateway's process.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Stop ends the gateway as an operator does, and fails the test when it does not
// end well.
func (g *Gateway) Stop() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Error(err)
	}
	g.Wait()
}

// Wait waits for the gateway, which was asked to stop, and fails the test when it does
// not end well.
func (g *Gateway) Wait() {
	g.t.Helper()
	select {
	case err := <-g.done:
		if err != nil {
			g.t.Errorf("gateway ended: %v", err)
		}
	case <-time.After(30 * time.Second):
		g.Kill()
		g.t.Error("gateway did not stop within 30 s")
	}
}

// Kill ends the gateway with SIGKILL and waits for it.
func (g *Gateway) Kill() {
	g.t.Helper()
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Error(err)
	}
	<-g.done
}

// CLI runs a command of the gateway's command line and returns what it printed.
func (g *Gateway) CLI(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	words := 1
	if args[0] == "driver" {
		words = 2
	}
	cmd := exec.CommandContext(ctx, filepath.Join(string(g.bins), "fieldloom"), slices.Insert(slices.Clone(args), words, "--config", g.Dir)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("fieldloom %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, err
}

// A Sample is a line of `fieldloom watch --json`.
type Sample struct {
	Link    string          `json:"link"`
	Device  string          `json:"device"`
	Point   string          `json:"point"`
	Value   json.RawMessage `json:"value"`
	Quality string          `json:"quality"`
	Time    time.Time       `json:"time"`
	Fault   string          `json:"fault"`
}

// Stored returns every stored sample that fits pattern.
func (g *Gateway) Stored(pattern string) []Sample {
	g.t.Helper()
	out, err := g.CLI("watch", pattern, "--since", "24h", "--for", "1s", "--json")
	if err != nil {
		g.t.Fatal(err)
	}
	var all []Sample
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var s Sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			g.t.Fatalf("watch printed %q: %v", lines.Text(), err)
		}
		if s.Point != "" {
			all = append(all, s)
		}
	}
	return all
}

// Eventually polls until holds returns nil; it fails the test with its last
// error after the time.
func Eventually(t testing.TB, within time.Duration, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
