package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// detached is a command whose process outlives its core.
func detached(mode string) host.Command {
	c := command(mode)
	c.Detach = true
	return c
}

// testOwner marks the processes of other cores. It is of this run of the tests alone: what
// is swept by its mark would be ended in every run on the machine.
var testOwner = fmt.Sprintf("tests of process %d", os.Getpid())

// envOwner gives a detacher the owner of its driver.
const envOwner = "TEST_OWNER"

// detacher is a core that starts a detached driver, prints its record, and waits to
// be killed. orphan may be empty.
func detacher(argument string) {
	orphan, mode, _ := strings.Cut(argument, ",")
	c := detached(mode)
	c.Orphan, _ = time.ParseDuration(orphan)
	c.Owner = os.Getenv(envOwner)
	p, err := host.Launch(context.Background(), c)
	if err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(p.Record()); err != nil {
		panic(err)
	}
	hang()
}

// otherCore is a core in a process of its own.
type otherCore struct {
	cmd    *exec.Cmd
	record wire.Record
	run    string
	driver int // pidfd of its driver
}

// startOther starts a core with a detached driver, which ends with the test.
func startOther(t *testing.T, argument string) *otherCore {
	t.Helper()
	o := &otherCore{cmd: exec.Command(os.Args[0]), run: t.TempDir()}
	o.cmd.Env = []string{envMode + "=detacher:" + argument, envOwner + "=" + testOwner, "TMPDIR=" + o.run}
	o.cmd.Stderr = os.Stderr
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.cmd.Process.Kill(); _ = o.cmd.Wait() })
	if err := json.NewDecoder(out).Decode(&o.record); err != nil {
		t.Fatal(err)
	}
	o.driver = openProcess(t, o.record.PID)
	t.Cleanup(func() { _ = unix.PidfdSendSignal(o.driver, unix.SIGKILL, nil, 0); waitDead(t, o.driver) })
	return o
}

// kill is kill -9.
func (o *otherCore) kill(t *testing.T) {
	t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = o.cmd.Wait()
}

func reattach(t *testing.T, r wire.Record, c host.Command) *host.Process {
	t.Helper()
	p, err := host.Reattach(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil && !errors.Is(err, wire.ErrEvicted) {
			t.Error(err)
		}
	})
	return p
}

func leftIn(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
}

func TestReleaseAndReattach(t *testing.T) {
	c := detached("fake")
	c.RunDir = t.TempDir()
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	pid, stored := p.PID(), uint64(0)
	for epoch := uint64(1); stored < fakeFrames; epoch++ {
		to := newCollector(t)
		a := attach(t, p, host.Hello{CoreEpoch: epoch, ProcessEpoch: fakeEpoch, ResumeAfter: stored, Frames: 64}, to)
		if a.NextSequence() != stored+1 {
			t.Fatalf("resumed at %d after %d", a.NextSequence(), stored)
		}
		for range min(150, fakeFrames-stored) {
			seq := waitFor(t, to.sequences, "frame")
			if seq != stored+1 {
				t.Fatalf("frame %d after %d", seq, stored)
			}
			stored = seq
			a.Ack(stored)
		}
		path := filepath.Join(t.TempDir(), "record.json")
		if err := p.Record().WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if err := p.Release(); err != nil {
			t.Fatal(err)
		}
		if a.Err() != nil {
			t.Errorf("attachment of a process that was released: %v", a.Err())
		}
		if err := errors.Join(p.Release(), p.Stop(t.Context())); err != nil {
			t.Errorf("what was released: %v", err)
		}
		record, err := host.ReadRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = host.Reattach(t.Context(), record, c); err != nil {
			t.Fatal(err)
		}
		if p.PID() != pid || p.Description().Name != "fake" {
			t.Fatalf("%d %+v", p.PID(), p.Description())
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := p.Exit(); e.Code != 0 || e.Unknown || e.Signal != "" {
		t.Errorf("exit of a child of this very process: %+v", e)
	}
	leftIn(t, c.RunDir)
}

func TestOnlyDetachedIsReleased(t *testing.T) {
	p := launch(t, command("fake"))
	if err := p.Release(); err == nil || !strings.Contains(err.Error(), "ends with this core") {
		t.Error(err)
	}
	if r := p.Record(); r.PID != 0 {
		t.Errorf("record %+v of a process that is not detached", r)
	}
}

func TestDetachedOutlivesItsCore(t *testing.T) {
	o := startOther(t, ",talk")
	o.kill(t)
	signalAndAwait(t, o, unix.SIGUSR1, "talk: signalled")
	lines := make(chan host.Line, 100)
	c := command("")
	c.OnLine = func(l host.Line) { lines <- l }
	p := reattach(t, o.record, c)
	if p.PID() != o.record.PID {
		t.Errorf("process %d", p.PID())
	}
	for line := range lines {
		if line.Text == "talk: signalled" {
			if line.PID != p.PID() || line.Stream != "stderr" || time.Since(line.Time) > time.Minute {
				t.Errorf("line %+v", line)
			}
			break
		}
	}
	if err := unix.PidfdSendSignal(o.driver, unix.SIGUSR1, nil, 0); err != nil {
		t.Fatal(err)
	}
	for line := range lines { // now followed
		if line.Text == "talk: signalled" {
			break
		}
	}
	killed := time.Now()
	if err := unix.PidfdSendSignal(o.driver, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	waitFor(t, p.Done(), "news of the death")
	t.Logf("the death of a process that is no child was seen after %v", time.Since(killed))
	if e := p.Exit(); e.Code != -1 || !e.Unknown && e.Signal != "killed" {
		t.Errorf("exit %+v", e)
	}
	_, err := p.Status(t.Context())
	if !errors.Is(err, wire.ErrExited) {
		t.Errorf("call after the death: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	leftIn(t, o.run)
}

// talk says something on SIGUSR1, and panics on SIGUSR2.
func talk(string) {
	watchSignals(func(s os.Signal) {
		if s == syscall.SIGUSR2 {
			panic("talked too much")
		}
		fmt.Fprintln(os.Stderr, "talk: signalled")
	})
	plugin.ServeBackend(newFake)
}

// signalAndAwait waits until the driver has written a text, with no core to read it.
func signalAndAwait(t *testing.T, o *otherCore, s unix.Signal, text string) {
	t.Helper()
	if err := unix.PidfdSendSignal(o.driver, s, nil, 0); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(o.record.Dir, "stderr"), text)
}

func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if data, _ := os.ReadFile(path); strings.Contains(string(data), text) {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatalf("no %q in %s after 30 s", text, path)
}

func TestLinesAreLoggedOnceOverCores(t *testing.T) {
	c := detached("talk")
	c.RunDir = t.TempDir()
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Release(); err != nil {
			t.Fatal(err)
		}
		log := newLogBuffer()
		c.Log = log.logger()
		if err := syscall.Kill(p.PID(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if p, err = host.Reattach(t.Context(), p.Record(), c); err != nil {
			t.Fatal(err)
		}
		log.await(t, "talk: signalled")
		if n := strings.Count(log.String(), "talk: signalled"); n != 1 {
			t.Errorf("%d lines", n)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	leftIn(t, c.RunDir)
}

func TestCrashWithoutCore(t *testing.T) {
	o := startOther(t, ",talk")
	o.kill(t)
	signalAndAwait(t, o, unix.SIGUSR2, "panic: talked too much")
	waitDead(t, o.driver)
	_, err := host.Reattach(t.Context(), o.record, command(""))
	var gone *host.GoneError
	if !errors.Is(err, host.ErrGone) || !errors.As(err, &gone) {
		t.Fatal(err)
	}
	if !gone.Exit.Unknown || !strings.Contains(gone.Exit.String(), "panic: talked too much") || len(gone.Exit.Stderr) > 20 {
		t.Errorf("%v, %d lines", gone.Exit, len(gone.Exit.Stderr))
	}
	leftIn(t, o.run)
}

func TestOrphanEndsByItself(t *testing.T) {
	o := startOther(t, "1s,fake")
	o.kill(t)
	began := time.Now()
	waitDead(t, o.driver)
	t.Logf("ended %v after its core", time.Since(began))
	_, err := host.Reattach(t.Context(), o.record, command(""))
	if !errors.Is(err, host.ErrGone) || !strings.Contains(err.Error(), "no core has been connected for") {
		t.Error(err)
	}
	leftIn(t, o.run)
}

func TestProcessWithoutItsDirectoryEnds(t *testing.T) {
	o := startOther(t, ",fake")
	o.kill(t)
	if err := os.RemoveAll(o.record.Dir); err != nil {
		t.Fatal(err)
	}
	_, err := host.Reattach(t.Context(), o.record, command(""))
	if err == nil || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, host.ErrGone) {
		t.Error(err)
	}
	waitDead(t, o.driver)
	if _, err = host.Reattach(t.Context(), o.record, command("")); !errors.Is(err, host.ErrGone) {
		t.Error(err)
	}
}

// childIn opens the process whose number the driver wrote.
func childIn(t *testing.T, o *otherCore) (pidfd int) {
	t.Helper()
	awaitFile(t, filepath.Join(o.record.Dir, "stderr"), "child ")
	data, err := os.ReadFile(filepath.Join(o.record.Dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	_, rest, _ := strings.Cut(string(data), "child ")
	if _, err := fmt.Sscan(rest, &pid); err != nil {
		t.Fatal(err)
	}
	return openProcess(t, pid)
}

func TestChildrenOfAdoptedDieWithIt(t *testing.T) {
	o := startOther(t, ",parent:")
	child := childIn(t, o)
	o.kill(t)
	p := reattach(t, o.record, command(""))
	if err := unix.PidfdSendSignal(o.driver, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	waitFor(t, p.Done(), "news of the death")
	waitDead(t, child)
}

func TestAdoptedIgnoresItsEnd(t *testing.T) {
	o := startOther(t, ",fake")
	o.kill(t)
	p := reattach(t, o.record, command(""))
	if err := unix.PidfdSendSignal(o.driver, unix.SIGSTOP, nil, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	waitDead(t, o.driver)
	leftIn(t, o.run)
}

func TestDetachedStartsThatFail(t *testing.T) {
	for mode, want := range map[string]string{
		"loud":      `it printed "hello from the author" before its handshake`,
		"crash":     "it ended before it was ready: exit code 7; its last line: no such device",
		"mute":      "it was not ready in time",
		"flood:100": "",
	} {
		c := detached(mode)
		c.RunDir, c.StartTimeout = t.TempDir(), 20*time.Second
		if mode == "mute" {
			c.StartTimeout = 300 * time.Millisecond
		}
		p, err := host.Launch(t.Context(), c)
		if want == "" && err == nil {
			err = p.Stop(t.Context())
		} else if err != nil && strings.Contains(err.Error(), want) {
			err = nil
		}
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		leftIn(t, c.RunDir)
	}
}

// On a full disk a detached process could not write its handshake: room for it is kept
// before the start, which fails for the right reason where there is none.
func TestRoomForTheHandshakeIsKept(t *testing.T) {
	o := startOther(t, "1s,fake")
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(o.record.Dir, "stdout"), &stat); err != nil {
		t.Fatal(err)
	}
	if kept := stat.Blocks * 512; kept < 16<<10 {
		t.Errorf("%d bytes are kept on the disk", kept)
	}
}
