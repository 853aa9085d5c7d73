package plugin_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/internal/wire/wiretest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// What a driver answers to a step of a discovery is bounded, and the candidate arrives whole.
func TestDiscoverCrossesTheBoundary(t *testing.T) {
	p := launch(t, command("fake"))
	found, of, err := p.Discover(t.Context(), "l", driver.Candidate{Within: "1-3", Number: 2, Patience: time.Minute, Identify: true})
	want := &driver.Entry{Name: "2 1-3 1m0s true", Value: "v", Likely: true}
	if diff := cmp.Diff(want, found); diff != "" || of != 7 || err != nil {
		t.Error(diff, of, err)
	}
	if found, of, err := p.Discover(t.Context(), "l", driver.Candidate{Within: "empty"}); found != nil || of != 3 || err != nil {
		t.Error(found, of, err)
	}
	if _, _, err := p.Discover(t.Context(), "l", driver.Candidate{Within: "far"}); driver.CodeOf(err) != driver.Protocol {
		t.Errorf("too many candidates: %v", err)
	}
	if loud, _, err := p.Discover(t.Context(), "l", driver.Candidate{Within: "loud"}); err != nil || len(loud.Name) > 5000 || !utf8.ValidString(loud.Name+loud.Value) {
		t.Errorf("%d bytes of text, %v", len(loud.Name), err)
	}
	if _, _, err := p.Discover(t.Context(), "l", driver.Candidate{Within: "away"}); driver.CodeOf(err) != driver.NotConnected || err.Error() != "the line is down" {
		t.Errorf("a line that is away: %v", err)
	}
}

func TestProcessIsAnEngineToTheCore(t *testing.T) {
	p := launch(t, command("fake"))
	ctx := t.Context()
	if d := p.Description(); d.Name != "fake" || d.Version != "1.2.3" || d.ProcessEpoch != fakeEpoch {
		t.Errorf("description %+v", d)
	}
	faults, err := p.Validate(ctx, wiretest.State())
	if diff := cmp.Diff([]*driver.ConfigError{{Link: "line1", Key: "url", Text: "no such host"}}, faults); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if faults, err := p.Apply(ctx, wiretest.State(), control.ApplyOptions{Standby: true, HandOff: []byte("phases")}); err != nil || len(faults) != 0 {
		t.Error(faults, err)
	}
	if s, err := p.Status(ctx); err != nil || len(s.Links) != 1 || s.Links[0].Name != "line1" {
		t.Error(s, err)
	}
	entries, err := p.Browse(ctx, "l", "d", "holding:", 5)
	if diff := cmp.Diff([]driver.Entry{{Address: "holding:5", Kind: driver.KindBool, Writable: true}}, entries); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if d, err := p.Drain(ctx, nil); err != nil || d.LastSequence != fakeFrames || string(d.HandOff) != "phases" {
		t.Error(d, err)
	}
	if err := p.Activate(ctx, nil, control.ActivateOptions{}); err != nil {
		t.Error(err)
	}
	if d, err := p.Drain(ctx, []string{"a", "b"}); err != nil || string(d.HandOff) != "phasesa,b" {
		t.Error(d, err)
	}
	if err := p.Activate(ctx, []string{"a"}, control.ActivateOptions{HandOff: []byte("phases")}); driver.CodeOf(err) != driver.Lost || err.Error() != "activate a with phases since nobody" {
		t.Error(err)
	}
	since := time.Date(2026, 5, 4, 3, 2, 1, 5, time.UTC)
	if err := p.Activate(ctx, []string{"a"}, control.ActivateOptions{Since: since}); err == nil || err.Error() != "activate a with  since 2026-05-04T03:02:01.000000005Z" {
		t.Error(err)
	}
	if err := p.Check(ctx, "line1", "m1"); driver.CodeOf(err) != driver.NotConnected || err.Error() != "check m1 of line1" {
		t.Error(err)
	}
	for code := driver.OK; code <= driver.Lost; code++ {
		err := p.Write(ctx, "l", "d", "p", driver.Int64Value(int64(code)))
		if driver.CodeOf(err) != code || code != driver.OK && err.Error() != "refused with "+code.String() {
			t.Errorf("write: %v, want code %v", err, code)
		}
	}
}

func readText(t *testing.T, p *host.Process, what string) string {
	t.Helper()
	samples, err := p.Read(t.Context(), what, "line1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return samples[0].Value.Str()
}

func TestProcessHasWhatItWasGiven(t *testing.T) {
	t.Setenv("SECRET_OF_THE_CORE", "x")
	c := command("fake")
	c.Env = append(c.Env, "GIVEN=yes")
	p := launch(t, c)
	var names []string
	for _, entry := range strings.Split(readText(t, p, "env"), "\x00") {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	want := []string{
		"FIELDLOOM_LOG_LEVEL", envMode, "GIVEN", "FIELDLOOM_DRIVER", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT",
		"PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_CLIENT_CERT",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error("environment: " + diff)
	}
	if stdin := readText(t, p, "stdin"); stdin != "/dev/null" {
		t.Errorf("standard input is %s", stdin)
	}
	if session, err := unix.Getsid(p.PID()); err != nil || session != p.PID() {
		t.Errorf("session %d of process %d: %v", session, p.PID(), err)
	}
}

func TestSocketDirectoryIsPrivateAndGoesAway(t *testing.T) {
	c := command("fake")
	c.RunDir = t.TempDir()
	p := launch(t, c)
	dir := filepath.Dir(p.Identity().Address)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(dir) != c.RunDir {
		t.Fatalf("%s: %v %v", dir, info, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := p.Exit(); e.Code != 0 || e.Signal != "" {
		t.Errorf("asked to exit, it ended with %v", e)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket directory after Stop: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	c := command("fake")
	c.RunDir = "/tmp/" + strings.Repeat("x", 80)
	_, err := host.Launch(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "choose a shorter directory") {
		t.Error(err)
	}
}

func TestDeathIsSeen(t *testing.T) {
	p := launch(t, command("fake"))
	killed := time.Now()
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, p.Done(), "news of the death")
	t.Logf("seen after %v", time.Since(killed))
	if e := p.Exit(); e.Signal != "killed" || e.Code != -1 || e.At.IsZero() {
		t.Errorf("exit %+v", e)
	}
	_, err := p.Status(t.Context())
	if !errors.Is(err, wire.ErrExited) || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("call after the death: %v", err)
	}
}

func TestDeathDuringCall(t *testing.T) {
	p := launch(t, command("fake"))
	_, err := p.Read(t.Context(), "panic", "", nil)
	if !errors.Is(err, wire.ErrExited) || driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("call that the driver dies of: %v", err)
	}
	if e := p.Exit(); e.Code != 2 || !strings.Contains(e.String(), "panic: the driver has a bug") || len(e.Stderr) > 20 {
		t.Errorf("exit %v, %d lines", e, len(e.Stderr))
	}
}

// TestOutcomeOfCalls asks in every way in which no answer comes whether the device may have
// been asked.
func TestOutcomeOfCalls(t *testing.T) {
	p := launch(t, command("fake"))
	for code := driver.Internal; code <= driver.Lost; code++ {
		err := p.Write(t.Context(), "l", "d", "p", driver.Int64Value(int64(code)))
		if driver.CodeOf(err) != code || driver.MayBeDone(err) != driver.MayBeDone(&driver.Error{Code: code}) {
			t.Errorf("the driver's own %v: %v", code, err)
		}
	}
	for text, want := range map[string]bool{"not sent": false, "in part": true} {
		if err := p.Write(t.Context(), "l", "d", "p", driver.StringValue(text)); err == nil || driver.MayBeDone(err) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Write(gone, "l", "d", "p", driver.Value{}); !errors.Is(err, driver.ErrNotSent) {
		t.Errorf("a caller that had gone: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Read(short, "block", "", nil); !driver.MayBeDone(err) {
		t.Errorf("no answer in time: %v", err)
	}
	if _, err := p.Read(t.Context(), "panic", "", nil); !errors.Is(err, wire.ErrExited) || !driver.MayBeDone(err) {
		t.Errorf("a call that the driver died in: %v", err)
	}
	if err := p.Write(t.Context(), "l", "d", "p", driver.Value{}); !errors.Is(err, wire.ErrExited) || !errors.Is(err, driver.ErrNotSent) {
		t.Errorf("a call after the death: %v", err)
	}
}

// A write that has begun ends before the process does, and none begins while it is stopped.
func TestStopLetsWritesEnd(t *testing.T) {
	c, writing := command("fake"), make(chan struct{}, 1)
	c.OnLine = func(l host.Line) {
		if l.Text == "writing" {
			writing <- struct{}{}
		}
	}
	p := launch(t, c)
	wrote, stopped := make(chan error, 1), make(chan error, 1)
	go func() { wrote <- p.Write(t.Context(), "l", "d", "p", driver.StringValue("slow")) }()
	waitFor(t, writing, "the beginning of the write")
	go func() { stopped <- p.Stop(t.Context()) }()
	if err := <-wrote; err != nil {
		t.Errorf("the write that had begun: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := p.Write(t.Context(), "l", "d", "p", driver.Value{}); !errors.Is(err, driver.ErrNotSent) {
		t.Errorf("a write after the end: %v", err)
	}
}

func TestStopOfStoppedProcess(t *testing.T) {
	p := launch(t, command("fake"))
	stop(t, p)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := p.Exit(); e.Signal != "killed" {
		t.Errorf("exit %v", e)
	}
}

// stop stops the process with SIGSTOP, which takes effect some time after the call.
func stop(t *testing.T, p *host.Process) {
	t.Helper()
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// It is this process's child: the kernel tells its parent.
	if err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

func TestGrandchildHoldsThePipes(t *testing.T) {
	for _, kind := range []string{"", "detached"} {
		t.Run("kind="+kind, func(t *testing.T) {
			log := newLogBuffer()
			c := command("parent:" + kind)
			c.Log = log.logger()
			p := launch(t, c)
			child := childOf(t, log)
			if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitFor(t, p.Done(), "news of the death")
			if kind == "detached" { // it left on purpose, and is not ours to kill
				if err := unix.PidfdSendSignal(child, unix.SIGKILL, nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			waitDead(t, child)
		})
	}
}

// childOf opens the process whose number the driver logs.
func childOf(t *testing.T, log *logBuffer) (pidfd int) {
	t.Helper()
	number, _, _ := strings.Cut(log.await(t, "child "), `"`)
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return openProcess(t, pid)
}

func openProcess(t *testing.T, pid int) (pidfd int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("open process %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func waitDead(t *testing.T, pidfd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 20000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("the process still lives after 20 s: %v", err)
		}
		return
	}
}

func TestKilledCoreLeavesNothing(t *testing.T) {
	run := t.TempDir()
	core := exec.Command(os.Args[0])
	core.Env = []string{envMode + "=core:fake", "TMPDIR=" + run}
	core.Stderr = os.Stderr
	out, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1024)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	number, address, _ := strings.Cut(strings.TrimSpace(string(line[:n])), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	driver := openProcess(t, pid)
	if _, err := os.Stat(address); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := core.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = core.Wait()
	waitDead(t, driver)
	t.Logf("the driver ended after %v", time.Since(killed))
	if left, err := os.ReadDir(run); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestFloodOfStderr(t *testing.T) {
	log := newLogBuffer()
	c := command("flood:100")
	c.Log = log.logger()
	p := launch(t, c)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if !strings.Contains(text, `{\"@message\":1}`) {
		t.Error("the line that crashes go-plugin's parser was not logged as it is")
	}
	if !strings.Contains(text, "some are left out") {
		t.Error("nothing tells that lines were left out")
	}
	if len(text) > 8<<20 {
		t.Errorf("%d bytes logged of 100 MB", len(text))
	}
	lines := p.Exit().Stderr
	if len(lines) != 20 || lines[len(lines)-1] != "the last line" {
		t.Errorf("kept %d lines", len(lines))
	}
}

func TestLinesOfTheDriver(t *testing.T) {
	log := newLogBuffer()
	c := command("fake")
	c.Log = log.logger()
	p := launch(t, c)
	readText(t, p, "log")
	readText(t, p, "print")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	want := `"level":"WARN","msg":"from the driver","driver":"fake","pid":` + strconv.Itoa(p.PID()) + `,"link":"line1"`
	if !strings.Contains(text, want) {
		t.Errorf("no %s in the log", want)
	}
	if !strings.Contains(text, `"msg":"printed by the driver"`) {
		t.Error("what the driver printed is not in the log")
	}
}

func TestHugeAnswerIsRefused(t *testing.T) {
	p := launch(t, command("fake"))
	if _, err := p.Read(t.Context(), "huge", "", nil); driver.CodeOf(err) != driver.Protocol {
		t.Errorf("%v", err)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Errorf("the call after it: %v", err)
	}
}

func TestCallThatGetsNoAnswer(t *testing.T) {
	p := launch(t, command("fake"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Read(ctx, "block", "", nil)
	if driver.CodeOf(err) != driver.Timeout {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err = p.Read(ctx, "block", "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
