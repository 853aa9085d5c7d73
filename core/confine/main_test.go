package confine_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/confine"
)

// envAct makes this test binary a driver that does one thing and says how it went, in a
// scene that is told as JSON.
const (
	envAct   = "TEST_ACT"
	envScene = "TEST_SCENE"
)

func TestMain(m *testing.M) {
	confine.Main() // a test starts this very binary as the shim, as the gateway does
	if os.Getenv(envDriver) != "" {
		serveDriver()
	}
	if mode := os.Getenv(envCore); mode != "" {
		startDriver(mode)
	}
	if name, ok := os.LookupEnv(envAct); ok {
		var s scene
		if err := json.Unmarshal([]byte(os.Getenv(envScene)), &s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		act, ok := acts()[name]
		if !ok {
			fmt.Fprintln(os.Stderr, "unknown act", name)
			os.Exit(3)
		}
		fmt.Println(answerOf(act(&s)))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// answerOf is the one word by which the driver tells how an act went.
func answerOf(err error) string {
	if err == nil {
		return "allowed"
	}
	return "refused: " + err.Error()
}

// policy adds what this test binary needs to be loaded where it is not a static one, as
// under the race detector.
func policy(t testing.TB, p confine.Policy) confine.Policy {
	t.Helper()
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil {
		t.Fatal(err)
	} else if len(libraries) > 0 {
		p.Read = append(p.Read, "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib")
	}
	return p
}

// image is this test binary in a sealed memfd, as the gateway keeps a driver.
func image(t testing.TB) *os.File {
	t.Helper()
	return memfd(t, "/proc/self/exe")
}

func memfd(t testing.TB, path string) *os.File {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("driver", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "driver")
	t.Cleanup(func() { file.Close() })
	if _, err := io.Copy(file, from); err != nil {
		t.Fatal(err)
	}
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s scene) text(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A run is how a driver process went.
type run struct {
	out, errs string
	state     *os.ProcessState
	report    confine.Report
	fault     error // of the shim
}

// start runs the image with one act under a policy, to its end.
func start(t testing.TB, p confine.Policy, image *os.File, s scene, name string) run {
	t.Helper()
	return startWith(t, p, image, s, name, func(*exec.Cmd) {})
}

func startWith(t testing.TB, p confine.Policy, image *os.File, s scene, name string, change func(*exec.Cmd)) run {
	t.Helper()
	cmd := exec.Command("driver-test")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = []string{envAct + "=" + name, envScene + "=" + s.text(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as core/internal/host's runner has it
	change(cmd)
	pending, err := policy(t, p).Prepare(cmd, image)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	pending.Started(err) // also where it failed
	if err != nil {
		t.Fatal(err)
	}
	var r run
	r.report, r.fault = pending.Report()
	_ = cmd.Wait() // its state says it
	r.out, r.errs, r.state = strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState
	return r
}
