package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
)

const (
	// maxHandshake bounds the first line of standard output; a certificate is about 1 KiB.
	maxHandshake = 16 << 10
	// drainLimit is how long the death of a process waits for its last lines.
	drainLimit = 20 * time.Millisecond
)

// process runs one driver process on behalf of go-plugin, which sees of it only
// what a handshake needs. go-plugin's own runner is not used because
//
//   - it takes a process for dead only when both of its pipes are closed, and a
//     grandchild that holds one hides the death for ever;
//   - it passes on the core's standard input, and the terminal's Ctrl-C;
//   - its parser of log lines panics at {"@message":1};
//   - its Kill waits two seconds and may hang on a process that is stopped.
type process struct {
	path string
	args []string
	log  *slog.Logger
	keep *tail

	onLine func(Line)

	cmd            *exec.Cmd
	stdout, stderr *os.File
	forward        *io.PipeWriter // the checked handshake, to go-plugin
	forwarded      *io.PipeReader
	dir            string // the private socket directory; removed at the end

	mu      sync.Mutex
	refusal error // why the handshake was refused
	shake   handshake
	told    func() // called once the process runs, or could not be started; may be nil
	started bool
	killed  bool

	pumps    sync.WaitGroup
	exit     Exit          // set before done is closed
	done     chan struct{} // the process is dead
	finished chan struct{} // and nothing of it is left
}

var _ runner.Runner = (*process)(nil)

// An Exit is how a process ended.
type Exit struct {
	Code   int    // -1 where a signal ended it
	Signal string // "killed", "segmentation fault" ...; empty: none
	At     time.Time
	Stderr []string // its last lines; one of a panic begins with the panic's first
}

func (e Exit) String() string {
	how := "exit code " + strconv.Itoa(e.Code)
	if e.Signal != "" {
		how = "signal: " + e.Signal
	}
	for _, line := range e.Stderr {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return how + ": " + line
		}
	}
	if n := len(e.Stderr); n > 0 {
		return how + "; its last line: " + e.Stderr[n-1]
	}
	return how
}

func newProcess(c Command, dir string, env []string) *process {
	p := &process{
		path: c.Path, args: c.Args, dir: dir, keep: newTail(c.TailLines), log: c.Log, onLine: oneAtATime(c.OnLine),
		done: make(chan struct{}), finished: make(chan struct{}),
	}
	p.forwarded, p.forward = io.Pipe()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env = env
	// A session of its own: no terminal, so no Ctrl-C, and one id for all that it
	// starts. Standard input is left nil, which is /dev/null.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return p
}

// Start starts the process. The pipes are files, not readers, so that exec's Wait
// waits for the process only.
func (p *process) Start(context.Context) error {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, outRead.Close(), outWrite.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr = outWrite, errWrite
	err = p.exec()
	closed := errors.Join(outWrite.Close(), errWrite.Close())
	if err = errors.Join(err, closed); err != nil {
		return errors.Join(err, outRead.Close(), errRead.Close())
	}
	p.stdout, p.stderr = outRead, errRead
	log := p.log.With("pid", p.cmd.Process.Pid)
	p.pumps.Go(func() { p.pump(log, "stderr").run(bufio.NewReaderSize(errRead, maxLine)) })
	p.pumps.Go(func() { p.readStdout(log) })
	go p.wait()
	return nil
}

func (p *process) exec() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("the start was given up")
	}
	err := p.cmd.Start()
	if p.told != nil {
		p.told()
	}
	p.started = err == nil
	return err
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
func (p *process) readStdout(log *slog.Logger) {
	from := bufio.NewReaderSize(p.stdout, maxHandshake)
	line, _, err := readLine(from)
	var shake handshake
	if err == nil {
		shake, err = parseHandshake(string(line))
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
		log.Debug("handshake refused", "err", err)
	}
	p.pump(log, "stdout").run(from)
}

func (p *process) pump(log *slog.Logger, source string) *pump {
	return newPump(log, source, p.keep, p.onLine, p.cmd.Process.Pid)
}

// wait sees the process die, kills what it started, and cleans up after it.
func (p *process) wait() {
	defer close(p.finished)
	pid := p.cmd.Process.Pid
	if awaitDeath(pid) {
		// Its number stays taken until Wait, so these are its children and nobody else's.
		killSession(pid)
	}
	err := p.cmd.Wait()
	drained := make(chan struct{})
	go func() { p.pumps.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainLimit): // a stranger holds the pipe
	}
	p.exit = exitOf(p.cmd.ProcessState, err)
	p.exit.Stderr = p.keep.last()
	close(p.done)
	_ = p.forwarded.Close()
	now := time.Now()
	_ = p.stdout.SetReadDeadline(now)
	_ = p.stderr.SetReadDeadline(now)
	<-drained
	_ = p.stdout.Close()
	_ = p.stderr.Close()
	_ = os.RemoveAll(p.dir)
}

func exitOf(state *os.ProcessState, err error) Exit {
	e := Exit{Code: -1, At: time.Now()}
	if state == nil {
		e.Signal = fmt.Sprintf("unknown (%v)", err)
		return e
	}
	e.Code = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal().String()
	}
	return e
}

// Wait is go-plugin's: it returns when the process is dead.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
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
	if p.started {
		_ = p.cmd.Process.Kill() // by its pidfd: never another process of this number
	}
}

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(s)
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
	if !p.running() {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
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
