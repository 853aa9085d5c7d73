package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

func TestDriverServedByHand(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "x.json")
	var said bytes.Buffer
	byHand := exec.Command(os.Args[0])
	byHand.Env = []string{envMode + "=fake", "FIELDLOOM_SERVE=" + record, "TMPDIR=" + dir}
	byHand.Stderr = &said
	if err := byHand.Start(); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, record, "}")
	r, err := host.ReadRecord(record)
	if err != nil || !r.Hand || r.Driver != "fake" || r.PID != byHand.Process.Pid || r.Epoch != fakeEpoch {
		t.Fatalf("%+v %v", r, err)
	}
	for _, path := range []string{r.Dir, record} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	log := newLogBuffer()
	for range 2 { // one gateway after another
		c := command("")
		c.Log = log.logger()
		p, err := host.Reattach(t.Context(), r, c)
		if err != nil {
			t.Fatal(err)
		}
		readText(t, p, "event")
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(log.String(), `"level":"WARN","msg":"this driver was started by hand`) {
		t.Error("nothing loud in the log")
	}
	if err := byHand.Process.Signal(syscall.SIGINT); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := byHand.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if !strings.Contains(said.String(), "FIELDLOOM_ATTACH=fake="+record) {
		t.Errorf("it said %q", said.String())
	}
	leftIn(t, dir)
	if _, err := host.Reattach(t.Context(), r, command("")); !errors.Is(err, host.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}

func TestServeByHandNeedsARecord(t *testing.T) {
	byHand := exec.Command(os.Args[0])
	byHand.Env = []string{envMode + "=fake", "FIELDLOOM_SERVE=/nowhere/x.json", "TMPDIR=" + t.TempDir()}
	out, err := byHand.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "serve driver fake: write record: ") {
		t.Errorf("%v %s", err, out)
	}
}

func TestParseAttach(t *testing.T) {
	got, err := wire.ParseAttach(" modbus=@/run/a.json, x=/b=c.json,")
	if diff := cmp.Diff(map[string]string{"modbus": "/run/a.json", "x": "/b=c.json"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, text := range []string{"modbus", "=x", "a=", "a=@", "a=1,a=2"} {
		if got, err := wire.ParseAttach(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestReadRecordIsParticular(t *testing.T) {
	good := launch(t, detached("fake")).Record()
	dir := t.TempDir()
	path := filepath.Join(dir, "r")
	for name, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(path, 0o640) },
		"a link":             func() error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
		"empty":              func() error { return os.Truncate(path, 0) },
		"too long":           func() error { return os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<20), 0o600) },
		"a fifo":             func() error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"no file":            func() error { return os.Remove(path) },
		"of no process":      func() error { return os.WriteFile(path, []byte(`{"driver":"x","pid":1}`), 0o600) },
	} {
		if err := good.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if r, err := host.ReadRecord(path); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
		_ = os.Remove(path)
	}
	if err := good.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if got, err := host.ReadRecord(path); err != nil || cmp.Diff(good, got) != "" {
		t.Errorf("%v %v", err, cmp.Diff(good, got))
	}
}

func tryOptions(t *testing.T) host.TryOptions {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	in, err := os.Open("testdata")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), out.Close() })
	o := host.TryOptions{Stdin: in, Stdout: out, Stderr: out}
	o.Path, o.Env = os.Args[0], []string{envMode + "=fake"}
	return o
}

func TestTry(t *testing.T) {
	for name, args := range map[string][]string{
		"itself":      nil,
		"by a script": {"/bin/sh", "-c", `"$0"; exit`, os.Args[0]},
	} {
		o := tryOptions(t)
		if args != nil {
			o.Path, o.Args = args[0], args[1:]
		}
		trial, err := host.Try(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if stdin := readText(t, trial.Process, "stdin"); filepath.Base(stdin) != "testdata" {
			t.Errorf("%s: its standard input is %q", name, stdin)
		}
		to := newCollector(t)
		attach(t, trial.Process, host.Hello{CoreEpoch: 1}, to)
		waitFor(t, to.sequences, "frame")
		if err := trial.End(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		said, err := os.ReadFile(o.Stdout.Name())
		if err != nil || !strings.Contains(string(said), "is being tried") {
			t.Errorf("%s: it said %q %v", name, said, err)
		}
		leftIn(t, os.TempDir())
	}
}

func TestTryEndsByCtrlC(t *testing.T) {
	trial, err := host.Try(t.Context(), tryOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(trial.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, trial.Ended(), "end")
	if err := trial.End(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTryOfStoppedDriverEnds(t *testing.T) {
	trial, err := host.Try(t.Context(), tryOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, trial.Process)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := trial.End(ctx); err != nil {
		t.Error(err)
	}
	leftIn(t, os.TempDir())
}

func TestTryOfNoDriver(t *testing.T) {
	o := tryOptions(t)
	o.Path = "/bin/true"
	if _, err := host.Try(t.Context(), o); err == nil || !strings.Contains(err.Error(), "it ended before it was ready") {
		t.Errorf("%v", err)
	}
	leftIn(t, os.TempDir())
	o.Path = "/nowhere"
	if _, err := host.Try(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	leftIn(t, os.TempDir())
}

// trier tries a driver, below a shell where wrapper is "shell", says who it is, and waits
// to be killed.
func trier(wrapper string) {
	o := host.TryOptions{Command: command("fake"), Stderr: os.Stderr}
	o.Env = []string{envMode + "=fake"}
	if wrapper == "shell" { // as a debugger is, it is between the two
		o.Path, o.Args = "/bin/sh", []string{"-c", "trap '' TERM; " + os.Args[0] + "; true"}
	}
	t, err := host.Try(context.Background(), o)
	if err != nil {
		panic(err)
	}
	fmt.Println(t.PID())
	hang()
}

// A driver that is tried ends with whoever tries it, however that ends.
func TestATriedDriverEndsWithItsTrier(t *testing.T) {
	for _, wrapper := range []string{"", "shell"} {
		trying := exec.Command(os.Args[0])
		trying.Env = []string{envMode + "=trier:" + wrapper, "TMPDIR=" + t.TempDir()}
		trying.Stderr = os.Stderr
		out, err := trying.StdoutPipe()
		if err == nil {
			err = trying.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Fscan(out, &pid); err != nil {
			t.Fatal(err)
		}
		driver := openProcess(t, pid)
		if err := trying.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = trying.Wait()
		waitDead(t, driver)
	}
}
