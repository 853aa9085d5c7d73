package confine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

// envCore makes this test binary a core that starts a driver, confined by the mode.
const envCore = "TEST_CORE"

// coreOwner marks what such a core starts.
const coreOwner = "cut"

// startDriver starts a detached driver, says so, and waits to be killed.
func startDriver(text string) {
	mode, err := confine.ParseMode(text)
	if err != nil {
		panic(err)
	}
	_, err = host.Launch(context.Background(), host.Command{
		Name: "fake", Path: "/proc/self/exe", Env: []string{envDriver + "=1"}, Detach: true, Owner: coreOwner,
		Prepare: func(cmd *exec.Cmd, socketDir string) (func(error), error) {
			p := confine.Policy{Mode: mode, RunDir: socketDir, Read: []string{"/etc/ld.so.cache", "/lib", "/usr/lib"}}
			pending, err := p.Prepare(cmd, nil)
			if err != nil {
				return nil, err
			}
			return pending.Started, nil
		},
	})
	fmt.Println("started", err)
	select {}
}

// An image that nobody lets run executes nothing, with any mode.
func TestImageWaitsForItsStarter(t *testing.T) {
	for _, mode := range []confine.Mode{confine.Off, confine.BestEffort, confine.Required} {
		cmd := exec.Command("driver-test")
		var out bytes.Buffer
		cmd.Stdout = &out
		cmd.Env = []string{envAct + "=breathe", envScene + "={}"}
		pending, err := policy(t, confine.Policy{Mode: mode}).Prepare(cmd, image(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pending.Started(errors.New("there is no room to write down that it runs"))
		_, fault := pending.Report()
		_ = cmd.Wait()
		if fault == nil || !strings.Contains(fault.Error(), "gave the start up") || out.Len() > 0 || cmd.ProcessState.ExitCode() != 126 {
			t.Errorf("%v: %v, %q, %v", mode, fault, out.String(), cmd.ProcessState)
		}
	}
}

// A core that is killed at any moment of a start leaves no process that a sweep by the
// notes does not find: what has no note ends without having executed anything.
func TestStartThatIsCutLeavesNothing(t *testing.T) {
	for i := range 30 {
		mode := []confine.Mode{confine.Off, confine.BestEffort}[i%2]
		run := t.TempDir()
		core := exec.Command("/proc/self/exe")
		core.Env = []string{envCore + "=" + mode.String(), "TMPDIR=" + run}
		if err := core.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(i) * 4 * time.Millisecond
		time.AfterFunc(moment, func() { _ = core.Process.Kill() })
		_ = core.Wait()
		if err := (host.Leftovers{RunDir: run}).Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; { // what was not let run ends by itself
			<-time.After(time.Millisecond)
			left := drivers(t, run)
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) || anyRuns(left) {
				t.Fatalf("%v, killed after %v: left are %v", mode, moment, left)
			}
		}
	}
}

// drivers are the processes whose socket is to be in a directory: what each is called.
func drivers(t *testing.T, dir string) (names []string) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte("PLUGIN_UNIX_SOCKET_DIR="+dir)) {
			continue
		}
		if args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")); err == nil && len(args) > 0 {
			name, _, _ := strings.Cut(string(args), "\x00")
			names = append(names, strconv.Quote(name))
		}
	}
	return names
}

// anyRuns reports whether one is not the shim.
func anyRuns(names []string) bool {
	for _, name := range names {
		if !strings.Contains(name, "confine") {
			return true
		}
	}
	return false
}
