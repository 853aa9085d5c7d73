package caller_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// What it costs to look at one request's caller.
func BenchmarkJudge(b *testing.B) {
	dir, err := os.MkdirTemp("", "caller")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"=connect p", envSocket+"="+socket)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(); _ = cmd.Wait() }()
	peer, err := caller.Of(conn)
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	var d caller.Drivers
	for b.Loop() {
		_ = d.Judge(peer) // a child of the judge: it is refused, one step up
	}
}
