package caller_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A stage is a gateway in a process of its own, which judges who connects to it.
type stage struct {
	t      *testing.T
	socket string
	in     io.Writer
	out    *bufio.Reader
}

func newStage(t *testing.T, argument string) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "caller")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, socket: filepath.Join(dir, "s")}
	cmd := s.command("gateway "+argument, true)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	s.in, s.out = in, bufio.NewReader(out)
	s.wants("up")
	return s
}

func (s *stage) command(role string, session bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"="+role, envSocket+"="+s.socket)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	return cmd
}

func (s *stage) says(format string, args ...any) {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) wants(want string) {
	s.t.Helper()
	line, err := s.out.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		s.t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// Whatever a driver does with its processes, it is known for a driver's, or for nobody's.
func TestDriversAreKnown(t *testing.T) {
	for _, c := range []struct{ name, gateway, role, verdict string }{
		{"it connects first thing", "", "connect d", "d: a driver"},
		{"its child does", "", "parent d", "d: a driver"},
		{"a child whose parent is gone", "", "deserter d", "d: a driver"},
		{"a child in a session of its own, whose parent is gone", "adopts", "demon d", "d: a driver"},
		{"a child that is gone before it is looked at", "", "parent gone-early", "gone-early: unknown"},
		{"a child that is gone before it is judged", "", "parent gone-late", "gone-late: unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.gateway)
			s.says("start %s", c.role)
			s.wants(c.verdict)
		})
	}
}

// Who was not started by a driver is a person, also beside drivers.
func TestPersonsAreKnown(t *testing.T) {
	s := newStage(t, "adopts")
	for _, session := range []bool{false, true} {
		for _, role := range []string{"connect p", "parent p", "deserter p"} {
			cmd := s.command(role, session)
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			s.wants("p: a person")
		}
	}
}

// A driver that the gateway did not start is known from the moment that it is told of it, with
// all that is in its session; one that was started by hand shares its session with its
// author, who is a person.
func TestDriversOfOthers(t *testing.T) {
	s := newStage(t, "")
	for _, c := range []struct {
		word, role string
		session    bool
		later      uint64 // than it was started
		verdict    string
	}{
		{"add", "parent d", true, 0, "d: a driver"},
		{"add", "deserter d", true, 0, "d: a driver"},
		{"byhand", "parent d", false, 0, "d: a driver"},
		{"add", "parent d", true, 1, "d: a person"}, // its number is another's by now
	} {
		cmd := s.command("await "+c.role, c.session)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.says("%s %d %d", c.word, cmd.Process.Pid, startOf(t, cmd.Process.Pid)+c.later)
		s.wants("known")
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		s.wants(c.verdict)
		if c.word == "byhand" {
			if err := s.command("connect author", false).Run(); err != nil {
				t.Fatal(err)
			}
			s.wants("author: a person")
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// What somebody tries is a driver too, and he is not.
func TestDriversThatAreTried(t *testing.T) {
	for _, role := range []string{"connect d", "demon d"} {
		s := newStage(t, "")
		cmd := s.command("try "+role, false)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.wants("d: a driver")
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
}

func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var start uint64
	if _, err := fmt.Sscan(string(bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])[19]), &start); err != nil {
		t.Fatal(err)
	}
	return start
}
