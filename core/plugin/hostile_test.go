package plugin_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// spew prints for ever and never ends a line.
func spew(string) {
	text := []byte(strings.Repeat("s", 4<<10))
	for {
		_, _ = os.Stdout.Write(text)
	}
}

// dribble begins a line and does not end it.
func dribble(string) {
	fmt.Print("1|1|unix|")
	hang()
}

// TestHandshakeWithoutEnd refuses what is no handshake, however it does not end.
func TestHandshakeWithoutEnd(t *testing.T) {
	for _, tc := range []struct {
		mode, want string
		detach     bool
		start      time.Duration
	}{
		{"spew", `it printed "ssss`, false, time.Hour}, // is refused at once
		{"spew", `it printed "ssss`, true, time.Hour},
		{"dribble", `it printed "1|1|unix|" before its handshake`, false, 300 * time.Millisecond},
		{"dribble", `it printed "1|1|unix|" before its handshake`, true, 300 * time.Millisecond},
	} {
		c := command(tc.mode)
		c.RunDir, c.Detach, c.StartTimeout = t.TempDir(), tc.detach, tc.start
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := host.Launch(t.Context(), c)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, detached %v: %v", tc.mode, tc.detach, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s, detached %v: took %d bytes of memory", tc.mode, tc.detach, n)
		}
		leftIn(t, c.RunDir)
		if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); !errors.Is(err, unix.ECHILD) {
			t.Errorf("%s, detached %v: a process is left: %v", tc.mode, tc.detach, err)
		}
	}
}

// nest digs directories into the directory that the driver may write to, each in the
// one before.
func nest(depth string) {
	n, err := strconv.Atoi(depth)
	if err == nil {
		err = os.Chdir(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
	}
	for range n {
		err = errors.Join(err, syscall.Mkdir("d", 0o700), syscall.Chdir("d"))
	}
	if err != nil {
		panic(err)
	}
	if err := os.Chdir("/"); err != nil {
		panic(err)
	}
	plugin.ServeBackend(newFake)
}

// TestDeepDirectoriesOfDriver removes what a driver left with few descriptors.
func TestDeepDirectoriesOfDriver(t *testing.T) {
	const depth = 300
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	c := command(fmt.Sprintf("nest:%d", depth))
	c.RunDir = t.TempDir()
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(openFiles(t)) + 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err = p.Stop(t.Context())
	if restored := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if err != nil {
		t.Error(err)
	}
	leftIn(t, c.RunDir)
}

// elsewhere runs a driver by hand whose record names a directory that is not its own.
func elsewhere(dir string) {
	path := os.Getenv("FIELDLOOM_SERVE")
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), envMode+"=fake", "FIELDLOOM_SERVE="+path+".own")
	if err := c.Start(); err != nil {
		panic(err)
	}
	record, err := host.ReadRecord(path + ".own")
	for ; errors.Is(err, os.ErrNotExist); record, err = host.ReadRecord(path + ".own") {
		<-time.After(time.Millisecond)
	}
	record.Dir = dir
	if err := errors.Join(err, record.WriteFile(path), c.Wait()); err != nil {
		panic(err)
	}
}

// TestTryRemovesNoDirectoryOfOthers tries a driver that says that somebody else's
// directory is its own.
func TestTryRemovesNoDirectoryOfOthers(t *testing.T) {
	o := tryOptions(t)
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.Mkdir(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	o.Env = []string{envMode + "=elsewhere:" + precious}
	trial, err := host.Try(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := trial.End(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// openFiles is how many descriptors this process has.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
