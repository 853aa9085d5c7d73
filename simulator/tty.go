package simulator

import (
	"context"
	"errors"
	"io"
	"os"
)

// A TTY is the far end of a tty that a program can open as it would a serial port: for a
// proxy to stand on a serial line.
type TTY struct {
	pty  *pseudo
	ctx  context.Context
	stop context.CancelFunc
}

var _ io.ReadWriteCloser = (*TTY)(nil)

// NewTTY makes a tty, and a link of a fixed name to it.
func NewTTY(link string) (*TTY, error) {
	p, err := openPseudo(link)
	if err != nil {
		return nil, err
	}
	t := &TTY{pty: p}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// Path is where the tty is opened.
func (t *TTY) Path() string {
	if t.pty.link != "" {
		return t.pty.link
	}
	return t.pty.path
}

// Read waits also while nobody has the tty open.
func (t *TTY) Read(b []byte) (int, error) {
	for {
		n, err := t.pty.master.Read(b)
		switch {
		case n > 0, errors.Is(err, os.ErrClosed):
			return n, err
		case err != nil && !pause(t.ctx, reopenPeriod):
			return 0, os.ErrClosed
		}
	}
}

// Write writes to who has the tty open; what nobody reads is lost after a while.
func (t *TTY) Write(b []byte) (int, error) {
	if err := t.pty.put(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return len(b), nil
}

// Close removes the tty.
func (t *TTY) Close() error {
	t.stop()
	return t.pty.close()
}
