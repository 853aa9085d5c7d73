package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// envOpener makes this test binary a process that opens a connection to a socket, passes it
// on by its standard input, and ends.
const envOpener = "TEST_OPENER"

func TestMain(m *testing.M) {
	if path := os.Getenv(envOpener); path != "" {
		if err := openAndPass(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func openAndPass(path string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	file, err := conn.File()
	if err != nil {
		return err
	}
	return unix.Sendmsg(0, []byte("x"), unix.UnixRights(int(file.Fd())), nil, 0)
}

// guardedBy serves the API to whom judge lets through.
func guardedBy(t *testing.T, judge func(*caller.Peer) error) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	guard := api.NewGuard(judge, log)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- api.Serve(ctx, guard.Listener(l), guard.Handler(api.Handler((&fake{}).services())), log)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// A driver is told nothing; what is not known is told why; both are judged anew at every
// request, also on a connection that was well before.
func TestGuard(t *testing.T) {
	own := fmt.Errorf("it is mine: %w", caller.ErrDriver)
	for _, tc := range []struct {
		name   string
		first  error
		second error
		status int // of the second request; 0: no answer
	}{
		{"a person", nil, nil, http.StatusOK},
		{"a driver", own, own, 0},
		{"unknown", errors.New("whose is it"), errors.New("whose is it"), http.StatusForbidden},
		{"a driver, as turns out later", nil, own, http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var verdict atomic.Pointer[error]
			verdict.Store(&tc.first)
			socket := guardedBy(t, func(*caller.Peer) error { return *verdict.Load() })
			c := client.New(socket)
			defer c.Close()
			_, err := c.Health(t.Context())
			if (err == nil) != (tc.first == nil) {
				t.Errorf("the first request: %v", err)
			}
			verdict.Store(&tc.second)
			_, err = c.Health(t.Context())
			var told *client.Error
			status := http.StatusOK
			if errors.As(err, &told) {
				status = told.Status
			} else if err != nil {
				status = 0
			}
			if status != tc.status {
				t.Errorf("the second request: %v, want status %d", err, tc.status)
			}
		})
	}
}

// A connection ends with the process that opened it, whoever has it by then: nothing is
// known of him.
func TestAConnectionThatIsPassedOn(t *testing.T) {
	socket := guardedBy(t, func(*caller.Peer) error { return nil })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stdin, cmd.Stderr = []string{envOpener + "=" + socket}, theirs, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), rights, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(pair[0])
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "passed")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) // it may be closed already
	answer, err := io.ReadAll(conn)
	if len(answer) > 0 && string(answer[:12]) != "HTTP/1.1 403" || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it was answered: %q, %v", answer, err)
	}
}
