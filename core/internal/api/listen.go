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

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/socket"
)

// Listen opens a Unix socket that is reached at path, of mode 0600, and lets a stale one of
// a dead gateway give way. A socket that a living gateway serves is an error. Close
// removes it.
//
// The socket has no name of its own. What is at path is a symbolic link to a descriptor of
// this process, /proc/PID/fd/N, which the kernel follows for those only who could
// trace this process: the same user with the same capabilities, and root, but never a process
// that Landlock confines. So a confined driver that runs as the gateway's user and may
// connect cannot reach it. The socket keeps its name, and Listen says why, where
// its own user could not follow the link; see nameless.
func Listen(ctx context.Context, path string) (*Listener, error) {
	if h, err := probe(ctx, path); err == nil {
		return nil, fmt.Errorf("listen on %s: gateway %s (pid %d) serves there: stop it, or set another socket", path, h.Gateway, h.PID)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket && !isOurLink(path) {
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
	l := &Listener{Listener: bound, path: path, named: nameless()}
	if l.named == nil {
		err = l.link(private)
	} else {
		err = l.move(filepath.Join(private, socketName))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), bound.Close())
	}
	return l, nil
}

// nameless returns why a socket without a name could not be reached by this process's
// own user: the kernel follows the link for those who have every capability that this process has,
// and for nobody but root where it holds secrets of a file's owner.
func nameless() error {
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 1 {
		return errors.New("the gateway's executable has capabilities, or its user cannot read it")
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("the gateway's capabilities: %w", err)
	}
	if os.Geteuid() != 0 && have[0].Permitted|have[1].Permitted != 0 {
		return errors.New("the gateway has capabilities that its user has not")
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return fmt.Errorf("no /proc: %w", err)
	}
	return nil
}

// probe asks who serves at path.
func probe(ctx context.Context, path string) (client.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c := client.New(path)
	defer c.Close()
	return c.Health(ctx)
}

// socketName is the name of a socket in its private directory.
const socketName = "s"

// bind opens a socket in dir, whose path may be of any length.
func bind(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket.In(d, socketName), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name is about to change
	return l, nil
}

// A Listener is the API's socket. It removes what is at its path when it is closed, unless
// another has taken the place.
type Listener struct {
	net.Listener
	path   string
	file   os.FileInfo // what is at path
	socket *os.File    // without a name; nil: it has one
	named  error
}

// Named says why the socket has a name, by which a confined driver might reach it; nil: it
// has none.
func (l *Listener) Named() error { return l.named }

// link opens the socket of a private directory, takes its name away and puts a link to it
// in its place.
func (l *Listener) link(private string) (err error) {
	bound, link := filepath.Join(private, socketName), filepath.Join(private, "link")
	if err := os.Chmod(bound, 0o600); err != nil {
		return err
	}
	fd, err := unix.Open(bound, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the socket: %w", err)
	}
	l.socket = os.NewFile(uintptr(fd), "socket")
	err = errors.Join(os.Remove(bound), os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), link))
	if err == nil {
		err = l.move(link)
	}
	if err != nil {
		return errors.Join(err, l.socket.Close())
	}
	return nil
}

// move puts a socket, or a link to one, in its place.
func (l *Listener) move(from string) (err error) {
	if l.socket == nil {
		if err := os.Chmod(from, 0o600); err != nil {
			return err
		}
	}
	if l.file, err = os.Lstat(from); err != nil {
		return err
	}
	return os.Rename(from, l.path)
}

// isOurLink reports whether path is a link as Listen makes one.
func isOurLink(path string) bool {
	to, err := os.Readlink(path)
	if err != nil {
		return false
	}
	var pid, fd int
	n, err := fmt.Sscanf(to, "/proc/%d/fd/%d", &pid, &fd)
	return err == nil && n == 2
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path)
	}
	err := l.Listener.Close()
	if l.socket != nil {
		_ = l.socket.Close() // once it is closed, closing it again is an error that says nothing
	}
	return err
}

// Serve serves h on l until ctx is done, then ends streams, waits a moment for
// requests in flight, and closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withConn,
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
