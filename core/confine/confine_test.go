package confine_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/confine"
)

// The image gets its arguments and descriptors, in every mode.
func TestImageRuns(t *testing.T) {
	img := image(t)
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, mode := range []confine.Mode{confine.Off, confine.BestEffort, confine.Required} {
		r := startWith(t, confine.Policy{Mode: mode}, img, scene{}, "args", func(cmd *exec.Cmd) {
			cmd.Args = []string{"a driver", "--flag", "Umlaut ü"}
			cmd.ExtraFiles = []*os.File{file}
		})
		if r.fault != nil || r.out != `["a driver" "--flag" "Umlaut ü"]`+"\nallowed" || r.report.Mode != mode {
			t.Errorf("%v: %q, %v, report %v\n%s", mode, r.out, r.fault, &r.report, r.errs)
		}
		r = startWith(t, confine.Policy{Mode: mode}, img, scene{Leaked: 3}, "use a descriptor not its own",
			func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{file} })
		if r.out != "allowed" {
			t.Errorf("%v: a descriptor that the command passes on: %q %s", mode, r.out, r.errs)
		}
		if r := start(t, confine.Policy{Mode: mode}, img, scene{}, "read a line of standard input"); r.out != "allowed" {
			t.Errorf("%v: standard input: %q", mode, r.out)
		}
	}
}

// The environment makes nobody a shim, and a shim's name alone does not confuse it.
func TestOnlyAnOrderMakesAShim(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"fieldloom: confine", "{}"}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "confine: ") {
		t.Errorf("an empty order: %v, %s", err, out)
	}
	cmd = exec.Command("/proc/self/exe")
	cmd.Args = []string{"fieldloom: confine", "no JSON"}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "the shim's order") {
		t.Errorf("no order: %v, %s", err, out)
	}
}

func TestPrivileges(t *testing.T) {
	status := start(t, confine.Policy{Mode: confine.BestEffort, Read: []string{"/proc"}}, image(t), scene{}, "status").out
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "Umask:\t0077"} {
		if !strings.Contains(status, line+"\n") {
			t.Errorf("no %q in\n%s", line, status)
		}
	}
	bounding := !strings.Contains(status, "CapBnd:\t0000000000000000\n")
	if os.Geteuid() == 0 && bounding {
		t.Errorf("capabilities can be gained:\n%s", status)
	}
}

// A driver is started whatever number of ports its links name: an argument has no room
// for them all.
func TestManyPorts(t *testing.T) {
	p := confine.Policy{Mode: confine.BestEffort}
	for port := range 30_000 {
		p.ConnectTCP = append(p.ConnectTCP, uint16(port+1))
	}
	if r := start(t, p, image(t), scene{}, "args"); r.fault != nil || !strings.HasSuffix(r.out, "allowed") {
		t.Errorf("%q, %v\n%s", r.out, r.fault, r.errs)
	}
}

// The report is honest about a user that cannot be had.
func TestOtherUser(t *testing.T) {
	var p confine.Policy
	if err := p.User("65534:65534"); err != nil {
		t.Fatal(err)
	}
	p.Mode, p.Groups, p.Read = confine.BestEffort, []int{12345}, []string{"/proc"}
	dir, err := os.MkdirTemp("", "confine")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p.RunDir = filepath.Join(dir, "run")
	if err := os.Mkdir(p.RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	img := image(t)
	if os.Geteuid() != 0 {
		r := start(t, p, img, scene{}, "breathe")
		if want := "uid 65534: the gateway is not root"; !strings.Contains(strings.Join(r.report.Missing, "\n"), want) {
			t.Errorf("report %v, want %q in it", &r.report, want)
		}
		p.Mode = confine.Required
		if r := start(t, p, img, scene{}, "breathe"); r.fault == nil || !strings.Contains(r.fault.Error(), "not root") {
			t.Errorf("required: %v", r.fault)
		}
		return
	}
	if _, err := p.Prepare(exec.Command("x"), img); err == nil || !strings.Contains(err.Error(), dir+" cannot be entered by user 65534") {
		t.Errorf("a directory that only root enters: %v", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	r := start(t, p, img, scene{}, "status")
	for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t12345 65534 ", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(r.out, line+"\n") {
			t.Errorf("no %q in %v\n%s\n%s", line, &r.report, r.out, r.errs)
		}
	}
	if r := start(t, p, img, scene{Own: p.RunDir}, "listen on its own unix socket"); r.out != "allowed" {
		t.Errorf("its socket: %s", r.out)
	}
}

func TestUserNames(t *testing.T) {
	var p confine.Policy
	for _, name := range []string{"root", "0:0", "5:0", "-1:5", "nobody at all"} {
		if err := p.User(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := p.User(""); err != nil || p.UID != 0 {
		t.Errorf("no user: %v", err)
	}
	p = confine.Policy{Mode: confine.Required, UID: 5}
	if _, err := p.Prepare(exec.Command("x"), image(t)); err == nil {
		t.Error("a user in root's group was prepared")
	}
}

func TestLimits(t *testing.T) {
	img := image(t)
	s := newScene(t)
	p := confine.Policy{Mode: confine.Required, RunDir: s.Own, Memory: 64 << 20, Files: 50, FileSize: 1 << 20}
	if underRace {
		t.Log("memory: the race detector's own is over any limit worth a test")
		p.Memory = confine.Unlimited
	} else if r := start(t, p, img, s, "eat memory"); r.state.ExitCode() != 2 ||
		!strings.Contains(r.errs, "out of memory") && !strings.Contains(r.errs, "cannot allocate memory") { // the heap meets it first, or the runtime's own
		t.Errorf("memory: %v %s %.300s", r.state, r.out, r.errs)
	}
	r := start(t, p, img, s, "open many files")
	count, _, _ := strings.Cut(r.out, "\n")
	if n, err := strconv.Atoi(count); err != nil || n > 50 || !strings.Contains(r.out, "too many open files") {
		t.Errorf("files: %s", r.out)
	}
	if r := start(t, p, img, s, "write a large file"); !strings.Contains(r.out, "file too large") {
		t.Errorf("file size: %v %s %.300s", r.state, r.out, r.errs)
	}
	p.Memory, p.FileSize = confine.Unlimited, confine.Unlimited
	if r := start(t, p, img, s, "write a large file"); r.out != "allowed" {
		t.Errorf("no limit: %s", r.out)
	}
}

// The gateway's timer slack is worth a quarter of an idle driver's CPU.
func TestTimerSlackSurvives(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(have), 0, 0, 0)
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1234567, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if r := start(t, confine.Policy{Mode: confine.Required}, image(t), scene{}, "slack"); r.out != "1234567\nallowed" {
		t.Errorf("slack: %q", r.out)
	}
}

// Where memfd cannot be executed, an image is a private file; it is no more executable
// a second time than a memfd is.
func TestImageIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "driver")
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := confine.Policy{Mode: confine.Required}
	if r := start(t, p, file, scene{}, "breathe"); r.out != "allowed" {
		t.Errorf("%q %v", r.out, r.fault)
	}
	for _, name := range []string{"execute itself again", "execute its image by descriptor"} {
		if r := start(t, p, file, scene{}, name); r.out == "allowed" {
			t.Errorf("%s: allowed", name)
		}
	}
	if r := startWith(t, p, nil, scene{}, "breathe", func(cmd *exec.Cmd) { cmd.Path = path }); r.out != "allowed" {
		t.Errorf("by the command's path: %q %v", r.out, r.fault)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := start(t, p, file, scene{}, "breathe"); r.out != "allowed" {
		t.Errorf("without a name: %q %v", r.out, r.fault)
	}
}

// A driver may be a script. Its interpreter and what that loads must be readable; what
// it executes on top must be named.
func TestImageIsAScript(t *testing.T) {
	script := memfdOf(t, strings.NewReader("#!/bin/sh\necho \"$0\" \"$1\"\n/bin/echo more\n"))
	libraries := []string{"/bin", "/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache"}
	run := func(p confine.Policy) run {
		p.Mode = confine.Required
		return startWith(t, p, script, scene{}, "", func(cmd *exec.Cmd) { cmd.Args = []string{"x", "argument"} })
	}
	r := run(confine.Policy{Read: libraries})
	if !strings.HasSuffix(r.out, " argument") || !strings.Contains(r.errs, "Cannot fork") {
		t.Errorf("%q %v %v %s", r.out, r.fault, r.state, r.errs)
	}
	r = run(confine.Policy{Read: libraries, Execute: []string{"/bin", "/lib64", "/lib"}, Processes: 1})
	if !strings.HasSuffix(r.out, "\nmore") {
		t.Errorf("with paths to execute: %q %v %v %s", r.out, r.fault, r.state, r.errs)
	}
}

// What cannot be executed at all is told by the shim, and the driver's last line is the same.
func TestImageIsNothing(t *testing.T) {
	for _, text := range []string{"", "no program", "#!", "#!/nowhere/at/all\n"} {
		img := memfdOf(t, strings.NewReader(text))
		r := start(t, confine.Policy{Mode: confine.BestEffort}, img, scene{}, "")
		if r.fault == nil || r.errs != r.fault.Error() || r.state.ExitCode() != 126 {
			t.Errorf("%q: %v, %q, %v", text, r.fault, r.errs, r.state)
		}
	}
}

func memfdOf(t testing.TB, from io.Reader) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("driver", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "driver")
	t.Cleanup(func() { file.Close() })
	if _, err := io.Copy(file, from); err != nil {
		t.Fatal(err)
	}
	// Only what nobody can write to can be executed.
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return read
}

// One image serves many starts at once.
func TestManyAtOnce(t *testing.T) {
	img := image(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				if r := start(t, confine.Policy{Mode: confine.Required}, img, scene{}, "start threads"); r.out != "allowed" {
					t.Errorf("%q %v %s", r.out, r.fault, r.errs)
				}
			}
		})
	}
	all.Wait()
}

// A path that is not there yet is reported, and so is the moment when only a new
// process could have what is there.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	later, now := dir+"/later", dir+"/now"
	if err := os.WriteFile(now, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, confine.Policy{Mode: confine.Required, Read: []string{now, later}}, image(t), scene{File: now}, "read the gateway's file")
	if r.out != "allowed" || !strings.Contains(r.report.String(), "path "+later+": no such file") {
		t.Errorf("%q, %v", r.out, &r.report)
	}
	if stale := r.report.Stale(); len(stale) != 0 {
		t.Errorf("stale at once: %v", stale)
	}
	if err := os.WriteFile(later, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/new", now); err != nil {
		t.Fatal(err)
	}
	if stale := r.report.Stale(); len(stale) != 2 {
		t.Errorf("stale %v, want both", stale)
	}
}

// A device that goes and comes again is another one, though it has the name and the
// number of the one before.
func TestStaleAfterAnInodeIsUsedAgain(t *testing.T) {
	open := func() (path string, inode uint64, leave func()) {
		master, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		var s unix.Stat_t
		if err := unix.Fstat(int(tty.Fd()), &s); err != nil {
			t.Fatal(err)
		}
		return tty.Name(), s.Ino, func() { tty.Close(); master.Close() }
	}
	for range 100 { // another process may take the number in between
		path, inode, leave := open()
		r := start(t, confine.Policy{Mode: confine.Required, Devices: []string{path}}, image(t), scene{}, "breathe")
		before := r.report.Stale()
		leave()
		again, same, leaveAgain := open()
		stale := r.report.Stale()
		leaveAgain()
		if again != path || same != inode {
			continue
		}
		if len(before) != 0 || len(stale) != 1 || stale[0].Path != path {
			t.Errorf("stale are %v, and after the terminal was replaced %v", before, stale)
		}
		return
	}
	t.Error("no number was used again")
}

// A gateway that is itself in a container whose filter forbids another filter: required
// says what is missing and does not start, best-effort says it and does.
func TestRequired(t *testing.T) {
	img := image(t)
	outer := confine.Policy{Mode: confine.BestEffort, Read: []string{"/"}, Execute: []string{"/"}, Processes: 1}
	r := start(t, outer, img, scene{}, "confine again, required")
	if want := "confine: required, but this machine lacks seccomp: install the filter: operation not permitted"; !strings.Contains(r.out, want) {
		t.Errorf("%s\n%s, want %q", r.out, r.errs, want)
	}
	r = start(t, outer, img, scene{}, "confine again, best effort")
	if want := "missing: "; !strings.Contains(r.out, "seccomp: install the filter: operation not permitted") || !strings.Contains(r.out, want) || !strings.HasSuffix(r.out, "allowed") {
		t.Errorf("%s\n%s, want %q", r.out, r.errs, want)
	}
}

// A container's own supervisor leaves no room for the question about the exec.
func TestAnotherListener(t *testing.T) {
	r := start(t, confine.Policy{Mode: confine.Off}, image(t), scene{}, "confine below a listener")
	if !strings.Contains(r.out, "one exec: install the filter: device or resource busy") || !strings.HasSuffix(r.out, "allowed") {
		t.Errorf("%s\n%s", r.out, r.errs)
	}
}

func TestModes(t *testing.T) {
	for _, mode := range []confine.Mode{confine.Off, confine.BestEffort, confine.Required} {
		if got, err := confine.ParseMode(mode.String()); err != nil || got != mode {
			t.Errorf("ParseMode(%v) = %v, %v", mode, got, err)
		}
	}
	if _, err := confine.ParseMode("yes"); err == nil || !strings.Contains(err.Error(), "best-effort") {
		t.Errorf("ParseMode(yes): %v", err)
	}
}
