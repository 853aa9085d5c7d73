package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
	"github.com/fieldloom/fieldloom/drivers/serial"
	"github.com/fieldloom/fieldloom/internal/testdriver"
)

// TestMain makes the test binary every program that the scripts run: fieldloom, and
// the drivers that it starts.
func TestMain(m *testing.M) {
	testscript.Main(cleaned{m}, map[string]func(){
		"fieldloom":      main,
		"driver-memory":  func() { plugin.Serve(testdriver.New("memory")) },
		"driver-memory2": func() { plugin.Serve(testdriver.New("memory2")) },
		"driver-whole":   serveWhole,
		"driver-broken":  func() { fmt.Fprintln(os.Stderr, "no licence found"); os.Exit(7) },
		"driver-modbus":  func() { plugin.Serve(modbus.New()) },
		"driver-mqtt":    func() { plugin.Serve(mqtt.New()) },
		"driver-serial":  func() { plugin.Serve(serial.New()) },
	})
}

// cleaned removes what the tests signed.
type cleaned struct{ *testing.M }

func (c cleaned) Run() int {
	code := c.M.Run()
	if made.Load() {
		if dir, err := signed(); err == nil {
			_ = os.RemoveAll(dir)
		}
	}
	return code
}

// made reports whether anything was signed.
var made atomic.Bool

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			driver, err := exec.LookPath("driver-memory")
			if err != nil {
				return err
			}
			e.Setenv("DRIVERS", filepath.Dir(driver))
			made.Store(true)
			dir, err := signed()
			if err != nil {
				return err
			}
			e.Setenv("SIGNED", dir)
			e.Setenv("PACKAGES", filepath.Join(dir, "packages"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"env-in":     envIn,
			"eventually": eventually,
			"exits":      exits,
			"gone":       gone,
			"signal":     signalGateway,
			"tty":        onTerminal,
			"interrupt":  interrupt,
			"lives":      lives,
			"pid-of":     pidOf,
			"same-pid":   samePID,
		},
	})
}

// patience bounds waits; it finds a hang, not slowness.
const patience = 30 * time.Second

// envIn puts the values of variables into files: env-in FILE...
func envIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: env-in FILE...")
	}
	for _, name := range args {
		path := ts.MkAbs(name)
		text, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(text), ts.Getenv)), 0o600))
	}
}

// eventually runs a command until its output matches: eventually REGEXP COMMAND...
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP COMMAND...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	var out []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir = ts.Getenv("WORK")
		cmd.Env = append(os.Environ(), "DRIVERS="+ts.Getenv("DRIVERS"))
		if out, _ = cmd.CombinedOutput(); want.Match(out) {
			return
		}
	}
	ts.Fatalf("%q never matched %s; the last output:\n%s", args[1:], args[0], out)
}

// exits runs a command and demands its exit code: exits CODE COMMAND...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// onTerminal runs a command on a terminal and keeps what it shows: tty COMMAND...
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tty COMMAND...")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "NO_COLOR="+ts.Getenv("NO_COLOR"), "TERM=xterm")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 120})
	ts.Check(err)
	shown, _ := io.ReadAll(terminal) // ends with EIO when the command does
	ts.Check(cmd.Wait())
	ts.Check(terminal.Close())
	ts.Check(os.WriteFile(ts.MkAbs("tty.out"), shown, 0o600))
}

// interrupt runs a command on a terminal, types Ctrl-C when the prompt is there, and demands
// that the command fails and leaves the terminal as it was: interrupt PROMPT COMMAND...
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt PROMPT COMMAND...")
	}
	terminal, tty, err := pty.Open()
	ts.Check(err)
	defer terminal.Close()
	defer tty.Close()
	before, err := term.GetState(int(tty.Fd()))
	ts.Check(err)
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	shown := bufio.NewReader(terminal)
	for seen := ""; !strings.HasSuffix(seen, args[0]); {
		c, err := shown.ReadByte()
		ts.Check(err)
		seen += string(c)
	}
	_, err = terminal.Write([]byte{3})
	ts.Check(err)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		ts.Fatalf("it ended with %v", cmd.ProcessState)
	}
	after, err := term.GetState(int(tty.Fd()))
	ts.Check(err)
	if *after != *before {
		ts.Fatalf("the terminal is not as it was: %v, %v before", after, before)
	}
}

// driverPID asks the gateway of a directory for the process of a driver.
func driverPID(ts *testscript.TestScript, driver, dir string) int {
	var out []byte
	cmd := exec.Command("fieldloom", "status", "--json", "--config", dir)
	cmd.Dir = ts.Getenv("WORK")
	out, err := cmd.Output()
	ts.Check(err)
	var status client.Status
	ts.Check(json.Unmarshal(out, &status))
	for i := range status.Drivers {
		if status.Drivers[i].Name == driver {
			return status.Drivers[i].PID
		}
	}
	ts.Fatalf("there is no driver %s", driver)
	return 0
}

// pidOf keeps the process of a driver in a variable: pid-of DRIVER DIR VARIABLE
func pidOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: pid-of DRIVER DIR VARIABLE")
	}
	ts.Setenv(args[2], strconv.Itoa(driverPID(ts, args[0], args[1])))
}

// samePID demands that a driver is the process in a variable: same-pid DRIVER DIR VARIABLE
func samePID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: same-pid DRIVER DIR VARIABLE")
	}
	if got := strconv.Itoa(driverPID(ts, args[0], args[1])); got != ts.Getenv(args[2]) {
		ts.Fatalf("driver %s is process %s, want %s", args[0], got, ts.Getenv(args[2]))
	}
}

// lives demands that the process in a variable lives: lives VARIABLE
func lives(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lives VARIABLE")
	}
	pid, err := strconv.Atoi(ts.Getenv(args[0]))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, 0))
}

// gone demands that no process runs with an argument or environment in the script's
// directory: gone
func gone(ts *testscript.TestScript, _ bool, _ []string) {
	work := ts.Getenv("WORK")
	var left []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = running(work); len(left) == 0 {
			return
		}
	}
	ts.Fatalf("processes are left over:\n%s", strings.Join(left, "\n"))
}

// running lists processes that mention dir in their command line or have it as
// their working directory.
func running(dir string) []string {
	var list []string
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range paths {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if err == nil && (strings.Contains(string(line), dir) || strings.HasPrefix(cwd, dir)) && filepath.Base(p) != strconv.Itoa(os.Getpid()) {
			list = append(list, filepath.Base(p)+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return list
}

// signalGateway signals the process that a lock file names: signal HUP FILE
func signalGateway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME LOCKFILE")
	}
	f, err := os.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Scan()
	pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	ts.Check(err)
	sig := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[0]]
	ts.Check(syscall.Kill(pid, sig))
}
