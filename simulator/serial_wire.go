package simulator

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// say writes a line, at the line's speed and with the device's fault. asked is when it was
// asked for; an answer waits while the device is slow, a line that nobody asked for has waited
// already.
func (l *serialLine) say(d *duty, asked time.Time, answer bool) {
	fault := d.device.current()
	if fault != nil && fault.Kind == Slow && answer && !pause(l.ctx, fault.Delay) {
		return
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	p := l.present()
	if p == nil {
		return
	}
	line, slot := d.render(fault)
	if fault == nil || fault.Kind != Cut {
		line = l.line.frame(line)
	}
	line = fault.bend(line, d.device)
	gap := l.gap()
	if fault != nil && fault.Kind == Drip {
		gap = fault.Delay
	}
	counted := false
	err := p.write(l.ctx.Done(), line, gap, func() {
		d.device.sent(slot, asked, len(line))
		counted = true
	})
	switch {
	case err != nil && counted:
		d.device.unsent(slot)
	case err != nil:
		d.device.failed(slot)
	}
}

// raw writes bytes that are no line of an instrument.
func (l *serialLine) raw(b []byte) {
	l.sending.Lock()
	defer l.sending.Unlock()
	if p := l.present(); p != nil {
		_ = p.write(l.ctx.Done(), b, l.gap(), func() {}) // nobody counts on it
	}
}

// bend changes what is sent as a fault says.
func (f *Fault) bend(line []byte, d *Device) []byte {
	if f == nil {
		return line
	}
	switch f.Kind {
	case Prefix:
		before := make([]byte, 5)
		noise(before, d.chance())
		return append(before, line...)
	case Checksum:
		if len(line) > 0 {
			line[len(line)/2] ^= 1
		}
	case Duplicate:
		return append(line, line...)
	}
	return line
}

// gap is the time that a byte takes: a start bit, eight bits and a stop bit.
func (l *serialLine) gap() time.Duration {
	if l.line.Baud == 0 {
		return 0
	}
	return 10 * time.Second / time.Duration(l.line.Baud)
}

// pseudo is a PTY of which a client opens the tty.
type pseudo struct {
	master *os.File
	path   string
	link   string
}

// openPseudo makes a PTY in raw mode, and a link to its tty when it is given a name for it. The
// simulator keeps no descriptor of the tty, so that it can tell whether somebody else has one.
func openPseudo(link string) (*pseudo, error) {
	master, tty, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pty: %w", err)
	}
	defer tty.Close()
	defer master.Close()
	if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
		return nil, fmt.Errorf("set %s raw: %w", tty.Name(), err)
	}
	// pty.Open leaves the descriptor blocking: a Close would then not end a Read. A duplicate
	// that does not block goes to the poller.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the pty of %s: %w", tty.Name(), err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("set the pty of %s not blocking: %w", tty.Name(), err), unix.Close(fd))
	}
	p := &pseudo{master: os.NewFile(uintptr(fd), master.Name()), path: tty.Name(), link: link}
	if err := p.makeLink(); err != nil {
		return nil, errors.Join(err, p.master.Close())
	}
	return p, nil
}

// makeLink replaces a link that is there, for it is one that an earlier run left; anything else
// is not touched.
func (p *pseudo) makeLink() error {
	if p.link == "" {
		return nil
	}
	if at, err := os.Lstat(p.link); err == nil {
		if at.Mode()&os.ModeSymlink == 0 {
			return fmt.Errorf("link %s: there is something that is no link", p.link)
		}
		if err := os.Remove(p.link); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	if err := os.Symlink(p.path, p.link); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return nil
}

// isOpen reports whether a client has the tty open.
func (p *pseudo) isOpen() bool {
	raw, err := p.master.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, err := unix.Poll(fds, 0)
		open = err == nil && fds[0].Revents&unix.POLLHUP == 0
	})
	return err == nil && open
}

// write writes bytes, each gap after the one before, several at a time where they come faster
// than a millisecond. It calls last before the last of them. Bytes that nobody reads are lost
// after a while, with an error.
func (p *pseudo) write(done <-chan struct{}, b []byte, gap time.Duration, last func()) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for sent := 0; sent < len(b); {
		ready := len(b)
		if gap > 0 {
			ready = min(int(time.Since(start)/gap), len(b))
		}
		if ready > sent {
			if ready == len(b) {
				last()
			}
			if err := p.put(b[sent:ready]); err != nil {
				return err
			}
			sent = ready
			continue
		}
		timer.Reset(max(time.Until(start.Add(gap*time.Duration(sent+1))), time.Millisecond))
		select {
		case <-timer.C:
		case <-done:
			return os.ErrClosed
		}
	}
	return nil
}

func (p *pseudo) put(b []byte) error {
	if err := p.master.SetWriteDeadline(time.Now().Add(busyTimeout)); err != nil {
		return err
	}
	_, err := p.master.Write(b)
	return err
}

func (p *pseudo) close() error {
	err := p.master.Close()
	if p.link == "" {
		return err
	}
	if at, e := os.Readlink(p.link); e == nil && at == p.path {
		err = errors.Join(err, os.Remove(p.link))
	}
	return err
}
