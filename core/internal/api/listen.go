package api

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

// Listen opens a Unix socket at path with mode 0600. It is bound inside a private
// directory and renamed to its place, so that there is no moment at which
// another user could connect, and a stale socket of a dead gateway gives way. A
// socket that a living gateway serves is an error. Close removes the socket.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if h, err := probe(ctx, path); err == nil {
		return nil, fmt.Errorf("listen on %s: gateway %s (pid %d) serves there: stop it, or set another socket", path, h.Gateway, h.PID)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen on %s: there is a file that is not a socket: remove it, or set another socket", path)
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	bound, err := bind(private)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l := &listener{Listener: bound, path: path}
	if err := l.moveFrom(filepath.Join(private, "s")); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), bound.Close())
	}
	return l, nil
}

// probe asks who serves at path.
func probe(ctx context.Context, path string) (client.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c := client.New(path)
	defer c.Close()
	return c.Health(ctx)
}

// bind opens a socket named s in dir, by a descriptor of dir: a path of any length
// fits into the 108 bytes of an address that way.
func bind(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/s", d.Fd()), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name is about to change
	return l, nil
}

// listener removes its socket when it is closed, unless another has taken the place.
type listener struct {
	net.Listener
	path string
	file os.FileInfo
}

func (l *listener) moveFrom(bound string) (err error) {
	if err := os.Chmod(bound, 0o600); err != nil {
		return err
	}
	if l.file, err = os.Lstat(bound); err != nil {
		return err
	}
	return os.Rename(bound, l.path)
}

func (l *listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path)
	}
	return l.Listener.Close()
}

// Serve serves h on l until ctx is done, then ends streams, waits a moment for
// requests in flight, and closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          stdlog.New(serverLog{log}, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // somebody does not read; nothing is owed to them
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// serverLog takes the lines of net/http: a panic of ours is an error, and what a
// caller does wrong is theirs.
type serverLog struct{ to *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if strings.Contains(text, "panic serving") {
		level = slog.LevelError
	}
	l.to.Log(context.Background(), level, "serve the API", "err", text)
	return len(line), nil
}
