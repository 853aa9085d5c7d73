package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

const (
	// maxHandshake bounds the first line of standard output; a certificate is about 1 KiB.
	maxHandshake = 16 << 10
	// drainLimit is how long the death of a process waits for its last lines, which are
	// there: for a core that is short of time, and for a stranger who goes on writing.
	drainLimit = time.Second
	// maxOutput bounds, beside the driver's spill, every file that a detached process
	// writes: its lines, when it floods them while no core is there.
	maxOutput = 64 << 20
)

var errNotDetached = errors.New("it is not detached, and ends with this core")

// process runs one driver process on behalf of go-plugin, which sees of it only
// what a handshake needs. go-plugin's own runner is not used because
//
//   - it takes a process for dead only when both of its pipes are closed, and a
//     grandchild that holds one hides the death for ever;
//   - it passes on the core's standard input, and the terminal's Ctrl-C;
//   - its parser of log lines panics at {"@message":1};
//   - its Kill waits two seconds and may hang on a process that is stopped.
type process struct {
	life
	path string

	cmd       *exec.Cmd
	begin     func(*exec.Cmd) error // starts cmd
	out       output
	child     [2]*os.File    // its standard output and standard error, until it is started
	fd        *pidfd         // of a detached process; nil: it ends with this core
	forward   *io.PipeWriter // the checked handshake, to go-plugin
	forwarded *io.PipeReader
	dir       string // the private socket directory; removed at the end
	name      string // of the driver
	note      string // the path of the note by which a later core finds the process; removed at the end
	detach    bool
	limit     int64 // of each file that a detached process writes

	mu      sync.Mutex
	refusal error // why the handshake was refused
	shake   handshake
	told    func(error) // called once the process may run, or must not; may be nil
	started bool
	killed  bool
	letGo   bool
	pid     int // of the process that was started
}

var _ runner.Runner = (*process)(nil)

var _ running = (*process)(nil)

func newProcess(c Command, dir string, env []string) *process {
	p := &process{life: newLife(c), path: c.Path, dir: dir, name: c.Name, note: wire.NoteOf(c.Notes, dir), detach: c.Detach, limit: maxOutput + c.Spill, begin: c.Start}
	if p.begin == nil {
		p.begin = (*exec.Cmd).Start
	}
	p.forwarded, p.forward = io.Pipe()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env = env
	// A session of its own: no terminal, so no Ctrl-C, and one id for all that it
	// starts. Standard input is left nil, which is /dev/null.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !c.Detach {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM // see run
	}
	return p
}

// Start starts the process. What it writes to are files, not writers, so that exec's
// Wait waits for the process only.
func (p *process) Start(context.Context) (err error) {
	if p.told != nil {
		defer func() { p.told(err) }()
	}
	if err := p.open(); err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.child[0], p.child[1]
	began, read := make(chan error), make(chan struct{})
	go p.run(began, read)
	err = <-began
	if !p.detach { // the core's own copies of the child's ends
		err = errors.Join(err, p.child[0].Close(), p.child[1].Close())
	}
	if err != nil {
		p.out.stop()
		p.out.close()
		return err
	}
	p.pumps.Go(func() { p.pump(p.pid, fileStderr).run(bufio.NewReaderSize(p.out.stderr(), maxLine)) })
	p.pumps.Go(func() { p.readStdout(p.pid) })
	close(read)
	return nil
}

// run starts the process, tells how that went, and waits for its end once its lines are
// read. One that does not outlive the core has the kernel tell it of the core's death; the
// kernel takes the end of the thread that started it for that, which therefore stays.
func (p *process) run(began chan<- error, read <-chan struct{}) {
	if !p.detach {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	err := p.exec()
	began <- err
	if err == nil {
		<-read
		p.wait()
	}
}

func (p *process) open() (err error) {
	if !p.detach {
		p.out, p.child[0], p.child[1], err = newPipes()
		return err
	}
	f, err := openFiles(p.dir, true, p.log)
	if err != nil {
		return err
	}
	p.out, p.child = f, [2]*os.File{f.out.file, f.err.file}
	return nil
}

func (p *process) exec() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("the start was given up")
	}
	if err := p.begin(p.cmd); err != nil {
		if errors.Is(err, syscall.EBADF) {
			// The child moves its descriptors above those of the core. The kernel calls a number
			// beyond the limit bad, and means that there are too few.
			err = fmt.Errorf("%w: %w", syscall.EMFILE, err)
		}
		return err
	}
	p.started, p.pid = true, p.cmd.Process.Pid
	err := p.hold()
	if err == nil {
		err = writeNote(p.note, p.name, p.pid, p.dir)
	}
	if err != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.started = false
		if p.fd != nil {
			p.fd.close()
		}
	}
	return err
}

// hold opens the child as a process that will not always be a child, and bounds what
// it may write while nobody empties its files.
func (p *process) hold() (err error) {
	if !p.detach {
		return nil
	}
	pid := p.cmd.Process.Pid
	if p.fd, err = openPidfd(pid); err != nil {
		return fmt.Errorf("a process that outlives the gateway needs Linux 5.10: %w", err)
	}
	if err := limitFiles(pid, p.limit); err != nil {
		p.log.Warn("the lines of a detached driver are not bounded while no gateway runs", "pid", pid, "err", err)
	}
	return nil
}

func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started
}

func (p *process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

func (p *process) handshake() (handshake, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shake, p.refusal
}

// readStdout takes the handshake, gives it to go-plugin, and then logs what comes.
func (p *process) readStdout(pid int) {
	from := bufio.NewReaderSize(p.out.stdout(), maxHandshake)
	line, err := from.ReadSlice('\n')
	if len(line) > 0 {
		err = nil // what has no end is no handshake, and is not waited for
	}
	var shake handshake
	if err == nil {
		shake, err = parseHandshake(strings.TrimRight(string(line), "\r\n"))
		p.mu.Lock()
		p.shake, p.refusal = shake, err
		p.mu.Unlock()
	}
	if err == nil {
		// Without the certificate, which is this package's concern: go-plugin's
		// parser ends in a nil pointer where it did not ask for one.
		_, err = fmt.Fprintf(p.forward, "%d|%d|%s|%s|grpc\n",
			goplugin.CoreProtocolVersion, shake.version, shake.network, shake.address)
	}
	_ = p.forward.CloseWithError(io.EOF)
	if err != nil {
		p.log.Debug("handshake refused", "pid", pid, "err", err)
	}
	p.pump(pid, fileStdout).run(from)
}

// wait sees the process die, kills what it started, and cleans up after it; or sees
// that it was let go.
func (p *process) wait() {
	defer close(p.finished)
	pid := p.cmd.Process.Pid
	if !p.awaitEnd(pid) {
		p.leave(p.out)
		return
	}
	err := p.cmd.Wait()
	p.settle(p.out, exitOf(p.cmd.ProcessState, err), func() { _ = p.forwarded.Close() })
	_ = p.clear()
}

// clear removes what is left of the process.
func (p *process) clear() error { return errors.Join(removeDir(p.dir), removeNote(p.note)) }

// awaitEnd waits for the end of the process; it is not ok when the process outlives this core.
func (p *process) awaitEnd(pid int) (ok bool) {
	if p.fd == nil {
		ok = awaitDeath(pid)
	} else {
		ok = p.fd.wait()
		p.fd.close()
		if !ok {
			return false
		}
	}
	if ok {
		// Its number stays taken until Wait, so these are its children and nobody else's.
		killSession(pid)
	}
	return true
}

// Wait is go-plugin's: it returns when the process is dead, or let go.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-p.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill kills the process; wait then kills all that it started. It does not wait
// itself, and keeps one from starting that has not yet.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.started && !p.letGo {
		_ = p.cmd.Process.Kill() // by its pidfd: never another process of this number
	}
}

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.letGo {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(s)
}

// release lets a detached process go on. The child is never waited for: whoever is
// its parent next will.
func (p *process) release() error {
	if p.fd == nil {
		return errNotDetached
	}
	p.mu.Lock()
	p.letGo = true
	p.mu.Unlock()
	p.fd.close()
	<-p.finished
	_ = p.cmd.Process.Release() // its descriptor, which the collector would free some time
	_ = p.forwarded.Close()
	return nil
}

// Kill is go-plugin's.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout gives go-plugin the handshake and nothing else.
func (p *process) Stdout() io.ReadCloser { return p.forwarded }

// Stderr gives go-plugin nothing.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the executable.
func (p *process) Name() string { return p.path }

// ID is the process id.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// Diagnose has nothing to add: the refusal says it.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost returns addresses as they are.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin returns addresses as they are.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
