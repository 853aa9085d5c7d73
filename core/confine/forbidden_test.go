package confine_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/internal/api"
)

// What an act should come to, by the driver that tries it. A serial driver has its tty
// and no network; a driver for Modbus TCP has one port and no file.
type expected struct {
	act         string
	serial, tcp bool   // is it allowed?
	abi         int    // of Landlock, where only that refuses it
	why         string // where it is allowed
}

const (
	meant  = "it is what the driver is for"
	itself = "it concerns the process itself only"
)

func forbidden() []expected {
	list := []expected{
		{act: "open its own tty", serial: true, abi: 1, why: meant},
		{act: "connect to an allowed port", tcp: true, why: meant},
		{act: "listen on its own unix socket", serial: true, tcp: true, why: meant},
		{act: "start threads", serial: true, tcp: true, why: itself},
		{act: "signal itself", serial: true, tcp: true, why: itself},
		{act: "tell whether a file is there", serial: true, tcp: true,
			why: "Landlock does not look at stat; the content stays unread"},
		{act: "listen on TCP without bind", tcp: true,
			why: "Landlock looks at bind, and seccomp cannot tell whose socket it is; a firewall can"},
		{act: "another driver's unix socket", tcp: true,
			why: "by path, until Landlock abi 9; the directory's mode protects it from other users, mutual TLS from all"},
	}
	for _, name := range strings.Split(`read /etc/shadow|list /|read the gateway's file|write the gateway's file|create a file outside|remove a file outside|`+
		`rename a file outside|link a file into its own|symlink to /etc/shadow|make a directory in its own|make a device node|read /proc/PARENT/environ|`+
		`open /proc/PARENT/mem|open another driver's tty|listen on a unix socket elsewhere`, "|") {
		list = append(list, expected{act: name, abi: 1})
	}
	for _, name := range []string{"connect to another port", "listen on a TCP port", "connect by IPv6"} {
		list = append(list, expected{act: name, abi: 4})
	}
	list = append(list, expected{act: "the gateway's API", abi: 1}, expected{act: "an abstract unix socket", abi: 6})
	for _, name := range strings.Split(`empty a file by path|chmod a file outside|chown a file outside|touch a file outside|set an attribute outside|`+
		`watch a directory|open by handle|type on its tty (TIOCSTI)|load a line discipline|use a descriptor not its own|`+
		`execute a program|execute itself again|execute its image by descriptor|execute a memfd|execute a file that it wrote|start a child process|`+
		`connect by a first send|connect by MPTCP|send a datagram (UDP)|raw socket|ping socket|packet socket|netlink socket|kernel crypto socket|`+
		`a datagram to the log|signal the gateway|signal everybody|signal by pidfd|signal by a descriptor|ptrace the gateway|read the gateway's memory|`+
		`take the gateway's descriptor|limit the gateway|slow the gateway down|move the gateway to a core|raise its own limits|leave its session|`+
		`gain a capability|use a 32-bit call|share memory (SysV)|map shared memory|mount|change the root|user namespace|mount namespace|enter a namespace|network namespace|`+
		`load a BPF map|perf events|io_uring|userfaultfd|keyring|kexec|load a kernel module|personality|read the kernel's log|`+
		`set the host's name|adjust the clock|install a seccomp filter|fanotify|become root|set its groups`, "|") {
		list = append(list, expected{act: name})
	}
	return list
}

// Every act is tried without confinement first: a refusal there says nothing about
// confinement, and the table shows it.
func TestForbiddenActs(t *testing.T) {
	img := image(t)
	s := newScene(t)
	serial := confine.Policy{Mode: confine.BestEffort, Devices: []string{s.TTY}, RunDir: s.Own}
	tcp := confine.Policy{Mode: confine.BestEffort, ConnectTCP: []uint16{uint16(portOf(s.Allowed))}, RunDir: s.Own}
	abi := 0
	report := start(t, tcp, img, s, "breathe").report
	for _, word := range report.InForce {
		_, _ = fmt.Sscanf(word, "landlock abi %d", &abi)
	}
	t.Logf("a Modbus TCP driver here: %v", &report)
	var table strings.Builder
	table.WriteString("| act | unconfined | serial driver | Modbus TCP driver | |\n|---|---|---|---|---|\n")
	for i, e := range forbidden() {
		if underRace && i%8 != 0 {
			t.Logf("%s: left to the build without the race detector", e.act)
			continue
		}
		free := tryAct(t, confine.Policy{Mode: confine.Off}, img, s, e.act)
		onSerial, onTCP := tryAct(t, serial, img, s, e.act), tryAct(t, tcp, img, s, e.act)
		note := ""
		if e.serial && onSerial == "allowed" || e.tcp && onTCP == "allowed" {
			note = e.why
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", e.act, free, onSerial, onTCP, note)
		if abi < e.abi {
			t.Logf("%s: not judged, because only Landlock abi %d refuses it and this kernel has %d, which the report says: %v", e.act, e.abi, abi, report.Missing)
			continue
		}
		if got := onSerial == "allowed"; got != e.serial {
			t.Errorf("%s: serial driver: %s", e.act, onSerial)
		}
		// From abi 9 on Landlock refuses what it could not before.
		if got := onTCP == "allowed"; got != e.tcp && (got || abi < 9) {
			t.Errorf("%s: Modbus TCP driver: %s", e.act, onTCP)
		}
	}
	t.Logf("on this kernel (%s, Landlock abi %d):\n%s", kernel(t), abi, table.String())
}

// tryAct gives the outcome in few words.
func tryAct(t testing.TB, p confine.Policy, img *os.File, s scene, name string) string {
	t.Helper()
	if err := os.RemoveAll(s.Own); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Own, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.File, s.Outside + "/spare"} {
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, p, img, s, name)
	lines := strings.Split(r.out, "\n")
	last := lines[len(lines)-1]
	switch {
	case r.fault != nil:
		t.Fatalf("%s: %v", name, r.fault)
	case last == "allowed":
		return last
	case strings.HasPrefix(last, "refused: "):
		words := strings.Split(last, ": ")
		return "refused: " + words[len(words)-1]
	}
	return "ended it: " + r.state.String()
}

func newScene(t testing.TB) scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "confine") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := scene{Parent: os.Getpid(), Own: dir + "/own", Outside: dir + "/outside"}
	s.File, s.Socket = s.Outside+"/file", s.Outside+"/s"
	s.Abstract = "@" + filepath.Base(dir)
	for _, d := range []string{s.Own, s.Outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.Allowed, s.Other = listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
	listen(t, "unix", s.Socket)
	listen(t, "unix", s.Abstract)
	s.API = listenAPI(t, dir)
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	s.Datagrams = udp.LocalAddr().String()
	s.TTY, s.OtherTTY = newTTY(t), newTTY(t)
	// Without the flag that closes it; high enough to be no driver's own.
	if s.Leaked, err = unix.FcntlInt(os.Stdin.Fd(), unix.F_DUPFD, 200); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.Leaked) })
	return s
}

// listenAPI is the gateway's own listener, with nobody behind it who looks at who connects.
func listenAPI(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "api")
	l, err := api.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Named(); err != nil {
		t.Fatalf("the socket has a name here: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

// listen accepts nothing: a connection waits in the queue.
func listen(t testing.TB, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func newTTY(t testing.TB) string {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return slave.Name()
}

func kernel(t testing.TB) string {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}

// The API is out of reach also of a driver that may connect to other processes' sockets, and
// of what it executes.
func TestAPIIsOutOfReach(t *testing.T) {
	img, s := image(t), newScene(t)
	for _, p := range []confine.Policy{
		{Mode: confine.BestEffort, Unix: true},
		{Mode: confine.BestEffort, Unix: true, UDP: true, ConnectTCP: []uint16{1}, Processes: 8, Execute: []string{"/bin", "/usr", "/lib"}},
	} {
		if got := tryAct(t, p, img, s, "another driver's unix socket"); got != "allowed" {
			t.Errorf("a socket that it may connect to: %s", got)
		}
		if got := tryAct(t, p, img, s, "the gateway's API"); got != "refused: permission denied" {
			t.Errorf("the API: %s", got)
		}
	}
}
