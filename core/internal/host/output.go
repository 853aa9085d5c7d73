package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// output is where a process writes its lines, as the core reads them.
type output interface {
	stdout() io.Reader
	stderr() io.Reader
	// ended says that the process is dead: the readers come to their end.
	ended()
	// stop brings them to it at once.
	stop()
	// close frees what it has, after the readers' end.
	close()
}

// pipes is the output of a process that does not outlive the core.
type pipes struct{ out, err *pipe }

var _ output = (*pipes)(nil)

// newPipes returns the child's ends too, which the caller closes.
func newPipes() (p *pipes, out, err *os.File, fail error) {
	var from [2]*os.File
	if from[0], out, fail = os.Pipe(); fail != nil {
		return nil, nil, nil, fail
	}
	if from[1], err, fail = os.Pipe(); fail != nil {
		return nil, nil, nil, errors.Join(fail, out.Close(), from[0].Close())
	}
	return &pipes{out: &pipe{from: from[0]}, err: &pipe{from: from[1]}}, out, err, nil
}

func (p *pipes) stdout() io.Reader { return p.out }
func (p *pipes) stderr() io.Reader { return p.err }

func (p *pipes) ended() {
	p.out.end(whatIsThere)
	p.err.end(whatIsThere)
}

func (p *pipes) stop() {
	p.out.end(nothingMore)
	p.err.end(nothingMore)
}

func (p *pipes) close() {
	_ = p.out.from.Close()
	_ = p.err.from.Close()
}

// pipe reads what a process writes. After the process's death it ends where it is empty: a
// stranger may hold its other end and keep it from ending by itself.
type pipe struct {
	from *os.File
	left atomic.Int32 // what is still to be read
}

const (
	everything int32 = iota
	whatIsThere
	nothingMore
)

func (p *pipe) end(left int32) {
	p.left.Store(left)
	_ = p.from.SetReadDeadline(time.Now()) // wakes Read
}

func (p *pipe) Read(b []byte) (n int, err error) {
	if p.left.Load() == everything {
		n, err = p.from.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
	if p.left.Load() == nothingMore {
		return 0, io.EOF
	}
	return p.readNow(b)
}

// readNow reads what is there, or answers io.EOF.
func (p *pipe) readNow(b []byte) (n int, err error) {
	raw, err := p.from.SyscallConn()
	if err != nil {
		return 0, err
	}
	fail := raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), b); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case fail != nil:
		return 0, fail
	case errors.Is(err, unix.EAGAIN) || err == nil && n == 0:
		return 0, io.EOF
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	}
	return n, nil
}

// The files in the directory of a detached process.
const (
	fileStdout = "stdout"
	fileStderr = "stderr"
	filePlaces = "read" // how far they were read
)

// files is the output of a process that outlives the core. A pipe would kill it, or
// stop it, once nobody reads.
type files struct {
	out, err *follower
	places   *os.File
	watch    *watch
	watching sync.WaitGroup
	over     chan struct{}
	quit     chan struct{}
}

var _ output = (*files)(nil)

// openFiles makes the files, or, for a process that is there, finds them.
func openFiles(dir string, create bool, log *slog.Logger) (*files, error) {
	f := &files{over: make(chan struct{}), quit: make(chan struct{})}
	var opened []*os.File
	for _, name := range []string{fileStdout, fileStderr, filePlaces} {
		file, err := openOwn(filepath.Join(dir, name), create)
		if err != nil {
			for _, file := range opened {
				err = errors.Join(err, file.Close())
			}
			return nil, err
		}
		opened = append(opened, file)
	}
	f.places = opened[2]
	f.out = f.follow(opened[0], 0, log.With("from", fileStdout))
	f.err = f.follow(opened[1], 1, log.With("from", fileStderr))
	f.watch = newWatch(filepath.Join(dir, fileStdout), filepath.Join(dir, fileStderr))
	f.watching.Go(func() { f.watch.run(f.out.wake, f.err.wake) })
	return f, nil
}

// openOwn opens a file of a detached process. A driver of another user may own the
// directory, and must not lead the core to another file.
func openOwn(path string, create bool) (*os.File, error) {
	flags := os.O_RDWR | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	if filepath.Base(path) != filePlaces {
		flags |= os.O_APPEND
	}
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.Mode().IsRegular() || stat.Nlink != 1 || int(stat.Uid) != os.Geteuid() {
			err = fmt.Errorf("%s is not the file that the gateway made: the directory was tampered with", path)
		}
	}
	if err == nil && create {
		err = makeRoom(file)
	}
	if err == nil {
		// O_NONBLOCK was for a fifo in its place; the child shares the flag.
		err = unix.SetNonblock(int(file.Fd()), false)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// startRoom is what a process writes at its start at most: its handshake, or why there is none.
const startRoom = 16 << 10

// makeRoom keeps room on the disk for it. On a full one, the start then fails with just
// that, and not because a handshake that could not be written did not come.
func makeRoom(file *os.File) error {
	err := unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, startRoom)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("keep room for the driver's lines: %w", &os.PathError{Op: "write", Path: file.Name(), Err: err})
	}
	return nil // not every file system can
}

func (f *files) follow(file *os.File, which int, log *slog.Logger) *follower {
	p := places{f.places}
	return &follower{
		file: file, wake: make(chan struct{}, 1), ended: f.over, quit: f.quit,
		note: p.store(which), offset: p.load(which),
		lost: func(bytes int64) {
			log.Warn("the driver writes too much: some of it is left out", "bytes", bytes)
		},
	}
}

func (f *files) stdout() io.Reader { return f.out }
func (f *files) stderr() io.Reader { return f.err }
func (f *files) ended()            { close(f.over) }
func (f *files) stop()             { close(f.quit) }

func (f *files) close() {
	f.watch.close()
	f.watching.Wait()
	_ = f.out.file.Close()
	_ = f.err.file.Close()
	_ = f.places.Close()
}

// lastLines reads the end of what a process wrote that is dead, and removes what it left.
func lastLines(dir string, n int) []string {
	file, err := openOwn(filepath.Join(dir, fileStderr), false)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	buffer := make([]byte, min(info.Size(), keptBacklog))
	read, err := file.ReadAt(buffer, info.Size()-int64(len(buffer)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	buffer = buffer[:read]
	if int64(read) < info.Size() {
		buffer = wire.WholeLines(buffer)
	}
	return tailOf(buffer, n)
}

// nothing is the output of a process whose lines go elsewhere.
type nothing struct{}

var _ output = nothing{}

func (nothing) stdout() io.Reader { return strings.NewReader("") }
func (nothing) stderr() io.Reader { return strings.NewReader("") }
func (nothing) ended()            {}
func (nothing) stop()             {}
func (nothing) close()            {}
