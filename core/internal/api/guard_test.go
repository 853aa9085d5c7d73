package api_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/api"
)

// TestGuard: who is refused, by its own number or by its session's, is told nothing;
// all others are let through.
func TestGuard(t *testing.T) {
	own := os.Getpid()
	session, err := unix.Getsid(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		refused int
		through bool
	}{{"another", -1, true}, {"the process", own, false}, {"its session", session, false}} {
		t.Run(tc.name, func(t *testing.T) {
			bound, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			l := api.Guard(bound, func(pid int) bool { return pid == tc.refused }, slog.New(slog.DiscardHandler))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte("x")) // the reader tells
					_ = conn.Close()
				}
			}()
			conn, err := net.Dial("unix", bound.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if through := string(got) == "x"; through != tc.through || err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("read %q: %v", got, err)
			}
			_ = conn.Close()
			_ = l.Close()
			<-ended
		})
	}
}
