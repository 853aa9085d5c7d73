package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

var (
	// ErrGone is in the tree of an error when the process of a record has ended.
	ErrGone = errors.New("the driver process has ended")
	// ErrNotTheSame is in the tree of an error when there is a process that is not the
	// one of the record. It was not touched.
	ErrNotTheSame = errors.New("the process is not the one of the record")
)

// A GoneError tells of a process that ended while no core was there. ErrGone is in its tree.
type GoneError struct {
	Record wire.Record
	Exit   Exit  // with the last lines
	Cause  error // what showed it
}

func (e *GoneError) Error() string {
	text := fmt.Sprintf("driver process %d has ended: %v", e.Record.PID, e.Cause)
	if n := len(e.Exit.Stderr); n > 0 {
		text += "; its last line: " + e.Exit.Stderr[n-1]
	}
	return text
}

// Unwrap is ErrGone and the cause.
func (e *GoneError) Unwrap() []error { return []error{ErrGone, e.Cause} }

// Reattach takes a process over that an earlier core has started with Command.Detach, or
// somebody by hand. The process proves that it is the one of the record: by its number, the
// time of its start and its executable's hash, and by a key that no other process has. ctx and
// c.StartTimeout bound that. Of c, what makes a process is not used.
//
// After an error the process is as it was. One with ErrGone in its tree is a *GoneError: a new
// process can be started. With ErrNotTheSame and without ErrGone there is something wrong that
// an operator should look at. After any other the process of the record does not answer, see
// Record.Kill.
func Reattach(ctx context.Context, r wire.Record, c Command) (*Process, error) {
	if c.Name == "" {
		c.Name = r.Driver
	}
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	p, err := reattach(ctx, r, c)
	if err != nil {
		return nil, fmt.Errorf("reattach driver %s: %w", c.Name, err)
	}
	if r.Hand {
		c.Log.Warn("this driver was started by hand: it is neither verified nor confined nor ended by this gateway", "pid", r.PID)
	}
	if err := p.SetLevel(ctx, c.Level); err != nil && driver.CodeOf(err) != driver.Unsupported {
		c.Log.Warn("set the log level of a driver that was taken over", "pid", r.PID, "err", err)
	}
	return p, nil
}

func reattach(ctx context.Context, r wire.Record, c Command) (*Process, error) {
	if v := r.Identity.Version; v != wire.ProtocolVersion {
		return nil, fmt.Errorf("process %d speaks version %d of the driver protocol, the gateway speaks %d", r.PID, v, wire.ProtocolVersion)
	}
	if r.Hand && c.HeartbeatTimeout < handSilence {
		c.HeartbeatTimeout = handSilence
	}
	fd, err := proveProcess(r, c.TailLines)
	if err != nil {
		return nil, err
	}
	if err := proveKey(ctx, r.Identity, c.Plain); err != nil {
		if fd.dead() {
			err = gone(r, c.TailLines, errors.New("it ended just now"))
		}
		fd.close()
		return nil, fmt.Errorf("process %d: %w", r.PID, err)
	}
	run, err := adopt(r, c, fd)
	if err != nil {
		fd.close()
		return nil, fmt.Errorf("the lines of process %d: %w", r.PID, err)
	}
	p, err := speak(ctx, c, run, r.Identity)
	if p != nil && !r.Hand {
		p.dir = r.Dir
	}
	if err == nil && p.described.ProcessEpoch != r.Epoch {
		err = fmt.Errorf("process %d is of epoch %d, not %d: %w", r.PID, p.described.ProcessEpoch, r.Epoch, ErrNotTheSame)
	}
	if err != nil {
		p.abandon()
		return nil, run.giveUp(err)
	}
	p.record = r
	p.serveQuestions()
	return p, nil
}

// handSilence is how long a process may be silent that somebody looks at in a debugger.
const handSilence = time.Hour

// proveProcess opens the process of the record, and checks all that can be seen from outside.
func proveProcess(r wire.Record, lines int) (*pidfd, error) {
	fd, err := openProcess(r, lines)
	if err != nil || r.Image == "" { // the core could not read it: the key decides
		return fd, err
	}
	image, err := wire.ImageOf(r.PID)
	switch {
	case err == nil && image == r.Image:
		return fd, nil
	case fd.dead():
		err = gone(r, lines, errors.New("it ended just now"))
	case err != nil:
		err = fmt.Errorf("executable of process %d: %w", r.PID, err)
	default:
		err = fmt.Errorf("process %d executes something else than the record says: %w", r.PID, ErrNotTheSame)
	}
	fd.close()
	return nil, err
}

// openProcess opens the process of the record, whatever it executes by now.
func openProcess(r wire.Record, lines int) (*pidfd, error) {
	boot, err := wire.BootID()
	if err != nil {
		return nil, err
	}
	if boot != r.Boot {
		return nil, gone(r, lines, errors.New("the machine has started anew since"))
	}
	fd, err := openPidfd(r.PID)
	if err != nil {
		if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
			return nil, gone(r, lines, errors.New("there is no process of this number"))
		}
		return nil, err
	}
	seen, err := wire.StatOf(r.PID)
	if err == nil && seen.Start != r.Start {
		fd.close()
		return nil, gone(r, lines, fmt.Errorf("its number was given to another: %w", ErrNotTheSame))
	}
	if err != nil || fd.dead() {
		if fd.dead() {
			if leadsSession(r) { // its number is its own until somebody has taken note
				killSession(r.PID)
			}
			err = gone(r, lines, errors.New("nobody has taken note of its end yet"))
		}
		fd.close()
		return nil, err
	}
	return fd, nil
}

// gone gathers what the process left, and removes it.
func gone(r wire.Record, lines int, cause error) error {
	e := &GoneError{Record: r, Exit: Exit{Code: -1, Unknown: true, At: time.Now()}, Cause: cause}
	if !r.Hand && r.Dir != "" {
		e.Exit.Stderr = lastLines(r.Dir, lines)
		clearDir(r)
	}
	return e
}

// clearDir removes the process's directory and note, if they are what a core made.
func clearDir(r wire.Record) {
	info, err := os.Lstat(r.Dir)
	if err == nil && info.IsDir() && strings.HasPrefix(filepath.Base(r.Dir), socketDirPrefix) {
		_ = removeDir(r.Dir)
	}
	if isNote(r.Note) {
		_ = removeNote(r.Note)
	}
}

// socketDirPrefix begins the names that go-plugin gives to socket directories.
const socketDirPrefix = "plugin-dir"

// Kill ends the process of the record, whatever it executes by now and whether it answers
// or not, and all that it started: by its number and the time of its start, which no other
// process has. It returns when the process is dead.
func Kill(ctx context.Context, r wire.Record) error {
	fd, err := openProcess(r, defaultTailLines)
	if err != nil {
		return fmt.Errorf("kill driver %s: %w", r.Driver, err)
	}
	defer fd.close()
	leads := leadsSession(r)
	if err := fd.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill driver %s: process %d: %w", r.Driver, r.PID, err)
	}
	unwatch := context.AfterFunc(ctx, fd.close)
	defer unwatch()
	if !fd.wait() {
		return fmt.Errorf("kill driver %s: process %d: %w", r.Driver, r.PID, ctx.Err())
	}
	if leads {
		killOrphans(r.PID, r.Start)
	}
	if !r.Hand {
		clearDir(r)
	}
	return nil
}

// leadsSession reports whether the process leads a session of its own, as one that a core has
// started. One that was started in a terminal is in the session of its shell.
func leadsSession(r wire.Record) bool {
	seen, err := wire.StatOf(r.PID)
	return err == nil && seen.Session == r.PID && !r.Hand
}

// adopted is a process that is not this core's child.
type adopted struct {
	life
	record wire.Record
	fd     *pidfd
	out    output
	leads  bool

	mu    sync.Mutex
	letGo bool
}

var _ running = (*adopted)(nil)

func adopt(r wire.Record, c Command, fd *pidfd) (*adopted, error) {
	a := &adopted{life: newLife(c), record: r, fd: fd, leads: leadsSession(r), out: nothing{}}
	if !r.Hand {
		out, err := openFiles(r.Dir, false, a.log)
		if errors.Is(err, os.ErrNotExist) {
			a.log.Warn("the lines of a driver process cannot be read: its directory was removed", "pid", r.PID, "err", err)
		} else if err != nil {
			return nil, err
		} else {
			a.out = out
		}
	}
	a.read(a.out, r.PID)
	go a.wait()
	return a, nil
}

// wait sees the process die, or that it was let go.
func (a *adopted) wait() {
	defer close(a.finished)
	if !a.fd.wait() {
		a.leave(a.out)
		return
	}
	if a.leads {
		killOrphans(a.record.PID, a.record.Start)
	}
	exit := a.fd.exitOfStranger()
	a.fd.close()
	a.settle(a.out, exit, func() {})
	if !a.record.Hand {
		clearDir(a.record)
	}
}

func (a *adopted) kill() { _ = a.signal(syscall.SIGKILL) }

func (a *adopted) signal(s syscall.Signal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.letGo {
		return os.ErrProcessDone
	}
	return a.fd.signal(s)
}

func (a *adopted) release() error {
	a.mu.Lock()
	a.letGo = true
	a.mu.Unlock()
	a.fd.close()
	<-a.finished
	return nil
}

// giveUp lets go of a process that did not answer as it should, and finds the reason.
func (a *adopted) giveUp(err error) error {
	grace := time.NewTimer(deathGrace)
	defer grace.Stop()
	select {
	case <-a.done: // its socket went with it
		<-a.finished
		return &GoneError{Record: a.record, Exit: a.exit, Cause: errors.New("it ended just now")}
	case <-grace.C:
	}
	_ = a.release()
	return err
}

// Release lets a process go that was started with Command.Detach, or taken over: it
// goes on, and keeps what it samples until a later core takes it over. The last acks
// are sent and the attachments closed. It is not to be used afterwards; a second
// Release, and Stop, do nothing then.
func (p *Process) Release() error {
	if p.record.PID == 0 {
		return fmt.Errorf("release driver %s: process %d: %w", p.command.Name, p.PID(), errNotDetached)
	}
	p.closeAll()
	p.released.Store(true)
	if err := p.run.release(); err != nil {
		return fmt.Errorf("release driver %s: process %d: %w", p.command.Name, p.PID(), err)
	}
	p.abandon()
	return nil
}

// proveKey connects once and has the driver process show its key.
func proveKey(ctx context.Context, id wire.Identity, plain bool) error {
	if plain {
		return nil
	}
	config, err := id.TLS()
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, id.Network, id.Address)
	if err != nil {
		return fmt.Errorf("it cannot be reached, and ends by itself if its socket was removed: %w", err)
	}
	defer conn.Close()
	switch err := tls.Client(conn, config).HandshakeContext(ctx); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("it does not answer: %w", ctx.Err())
	default:
		return fmt.Errorf("it has not the key of the record: %w", errors.Join(ErrNotTheSame, err))
	}
}
