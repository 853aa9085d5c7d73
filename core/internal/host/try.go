package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// TryOptions say how a driver is run in the foreground. Of the Command, Path, Args,
// Name, Log, Services and Level count; Env is added to this process's own environment.
type TryOptions struct {
	Command
	Stdin, Stdout, Stderr *os.File // the terminal as it is
}

// A Trial is a driver in the foreground: it has the terminal, and an author's debugger
// may stop it for as long as it takes.
type Trial struct {
	*Process
	cmd   *exec.Cmd
	dir   string
	alive *os.File      // locked as long as this process lives
	ended chan struct{} // what was started has ended, the process with it
	state *os.ProcessState
}

// Try runs the executable, which is a driver or something that starts one, a debugger
// say, and returns when the driver has described itself. There is no limit to that but ctx,
// because somebody may be looking at it. The caller ends the Trial with End.
func Try(ctx context.Context, o TryOptions) (*Trial, error) {
	t, err := try(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("try driver %s: %w", o.Path, err)
	}
	return t, nil
}

func try(ctx context.Context, o TryOptions) (t *Trial, err error) {
	dir, err := os.MkdirTemp("", wire.HandDirPrefix) // of mode 0700
	if err != nil {
		return nil, err
	}
	record := filepath.Join(dir, "record.json")
	t = &Trial{cmd: exec.Command(o.Path, o.Args...), dir: dir, ended: make(chan struct{})}
	if t.alive, err = lockNew(filepath.Join(dir, "alive")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	t.cmd.Env = append(os.Environ(), o.Env...)
	t.cmd.Env = append(t.cmd.Env, wire.EnvServe+"="+record, wire.EnvTried+"="+t.alive.Name(), wire.EnvLogLevel+"="+o.Level.String())
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // see runChild
	began := make(chan error)
	go t.runChild(began)
	if err := <-began; err != nil {
		return nil, errors.Join(err, t.alive.Close(), os.RemoveAll(dir))
	}
	if err = t.await(ctx, record); err == nil {
		err = t.open(ctx, record, o.Command)
	}
	if err != nil {
		_ = t.cmd.Process.Kill()
		<-t.ended
		return nil, errors.Join(err, t.alive.Close(), os.RemoveAll(dir))
	}
	return t, nil
}

// runChild starts what is tried, tells how that went, and waits for its end. The kernel kills
// it when this process dies, and takes the end of the thread that started it for that,
// which therefore stays. A driver below a debugger sees the death by the lock.
func (t *Trial) runChild(began chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := t.cmd.Start()
	began <- err
	if err != nil {
		return
	}
	defer close(t.ended)
	_ = t.cmd.Wait() // the state says more
	t.state = t.cmd.ProcessState
}

// lockNew makes a file that is locked as long as this process has it open, and lives.
func lockNew(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

// await waits for the driver to write its record.
func (t *Trial) await(ctx context.Context, path string) error {
	w := newWatch(t.dir)
	wake := make(chan struct{}, 1)
	watched := make(chan struct{})
	go func() { defer close(watched); w.run(wake) }()
	defer func() { w.close(); <-watched }()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-wake:
		case <-t.ended:
			return fmt.Errorf("it ended before it was ready (%v): is it a driver of this version?", t.state)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Trial) open(ctx context.Context, path string, c Command) error {
	record, err := ReadRecord(path)
	if err != nil {
		return err
	}
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, handSilence)
	defer cancel()
	t.Process, err = reattach(ctx, record, c) // not as Reattach, which warns of what nobody ends
	return err
}

// End asks the driver to end, and returns when it has and what was started with it.
// When ctx ends before, it kills both.
func (t *Trial) End(ctx context.Context) error {
	defer func() { _ = os.RemoveAll(t.dir) }()
	defer t.alive.Close()
	_ = t.run.signal(syscall.SIGTERM) // it may be dead
	select {
	case <-t.life.finished:
	case <-ctx.Done():
		t.run.kill()
	}
	grace := time.NewTimer(exitLimit) // for a debugger whose program has ended
	defer grace.Stop()
	select {
	case <-t.ended:
	case <-grace.C:
	case <-ctx.Done():
	}
	_ = t.cmd.Process.Kill()
	<-t.ended
	t.abandon()
	return removeHandDir(t.record) // where it was killed
}

// Ended is closed when what was started has ended.
func (t *Trial) Ended() <-chan struct{} { return t.ended }
