package carrier

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
)

// parities by the words of the settings.
var parities = map[string]serial.Parity{
	parityOff: serial.NoParity, "odd": serial.OddParity, "even": serial.EvenParity, "mark": serial.MarkParity, "space": serial.SpaceParity,
}

// A port is an open serial port. go.bug.st/serial sets it up and keeps it; the bytes go over a
// descriptor of its own in the runtime's poller, because the library's reads turn a time-out
// into no bytes and no error, wait in select(2), which knows no descriptor above 1023, and its
// writes cannot be bounded.
type port struct {
	*os.File
	kept serial.Port
	path string
}

var _ Conn = (*port)(nil)

// openPort opens a port for this process alone and sets it up.
func openPort(a *Address) (Conn, error) {
	// O_NONBLOCK: without it open would wait for a carrier.
	f, err := os.OpenFile(a.place, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(a.place, err)
	}
	p := &port{File: f, path: a.place}
	if err := p.claim(); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := p.setUp(a); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// setUp sets rate, framing and modem lines, and throws away what came before.
func (p *port) setUp(a *Address) error {
	mode := &serial.Mode{BaudRate: a.Baud, DataBits: a.DataBits, Parity: parities[a.Parity], StopBits: serial.OneStopBit}
	if a.StopBits == 2 {
		mode.StopBits = serial.TwoStopBits
	}
	if a.RS485 != nil {
		if err := p.control(func(fd int) error { return setRS485(fd, a.RS485) }); err != nil {
			return driver.Errorf(driver.InvalidConfig, "open %s: rs485: the port's driver cannot switch the line by itself: "+
				"leave rs485 out where the adapter does: %w", p.path, err)
		}
	}
	var err error
	if p.kept, err = serial.Open(p.path, mode); err != nil {
		return p.modeError(err)
	}
	if err := p.setLines(a); err != nil {
		return err
	}
	return p.control(func(fd int) error {
		// Exclusive use is a flag of the terminal and not of who set it, and ends with the
		// terminal's last close: of a pseudo terminal that is the end of its other side, so
		// that the port of a driver that was killed would be busy for as long as that lives.
		// There the lock has to do.
		if pseudo, err := isPseudo(fd); err != nil || pseudo {
			_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		}
		return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH)
	})
}

func (p *port) modeError(err error) error {
	var e *serial.PortError
	switch {
	case errors.Is(err, unix.EBUSY), errors.As(err, &e) && e.Code() == serial.PortBusy:
		return driver.Errorf(driver.NotConnected, "open %s: another process uses the port%s: %w", p.path, owner(p.path), err)
	case errors.As(err, &e) && e.Code() == serial.PermissionDenied:
		return openError(p.path, fs.ErrPermission)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EIO), errors.Is(err, unix.ENODEV):
		return driver.Errorf(driver.NotConnected, "open %s: the port has gone: %w", p.path, err)
	}
	return driver.Errorf(driver.InvalidConfig, "open %s: the port does not take this mode: %w", p.path, err)
}

// setLines sets DTR and RTS as the settings say. The system raises both for a moment when a port
// is opened, whatever is set here. A pseudo terminal has no modem lines.
func (p *port) setLines(a *Address) error {
	for _, l := range []struct {
		word string
		set  func(bool) error
	}{{a.DTR, p.kept.SetDTR}, {a.RTS, p.kept.SetRTS}} {
		if l.word == leave {
			continue
		}
		if err := l.set(l.word == on); err != nil && l.word == off && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) {
			return driver.Errorf(driver.NotConnected, "open %s: set the modem lines: %w", p.path, err)
		}
	}
	return nil
}

// isPseudo reports whether a descriptor is the terminal's side of a pseudo terminal; see
// Documentation/admin-guide/devices.txt of Linux: 3 is that of BSD, 136 to 143 of Unix 98.
func isPseudo(fd int) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return false, err
	}
	major := unix.Major(stat.Rdev)
	return major == 3 || major >= 136 && major <= 143, nil
}

// claim locks the port. Exclusive use does not stop root; a lock stops everybody who asks,
// and ends with the process.
func (p *port) claim() error {
	return p.control(func(fd int) error {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return driver.Errorf(driver.InvalidConfig, "open %s: it is no serial port: %w", p.path, err)
		}
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return driver.Errorf(driver.NotConnected, "open %s: another process uses the port%s", p.path, owner(p.path))
		}
		return err
	})
}

// owner finds who has a port open, for people: " (pid 17, name)"; empty where it cannot be seen.
func owner(path string) string {
	tty, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well formed
	self := strconv.Itoa(os.Getpid())
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || target != tty {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		if pid == self {
			continue
		}
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return " (pid " + pid + ")"
		}
		return fmt.Sprintf(" (pid %s, %s)", pid, strings.TrimSpace(string(name)))
	}
	return ""
}

// openError says what is in the way: nobody, another program, the rights of the user, or
// the driver's confinement, which lets it look whether it were allowed otherwise.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return driver.Errorf(driver.NotConnected, "open %s: another process uses the port%s: %w", path, owner(path), err)
	case !errors.Is(err, fs.ErrPermission):
		return driver.Errorf(driver.NotConnected, "open %s: %w", path, err)
	case unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS) == nil:
		return driver.Errorf(driver.Denied, "open %s: its confinement keeps the driver from the port, which is new or was replaced since the driver's start: "+
			"the gateway gives it a new process by itself: %w", path, err)
	}
	return driver.Errorf(driver.Denied, "open %s: the driver's user may not use the port: %s: %w", path, remedy(path), err)
}

// remedy says what the user lacks.
func remedy(path string) string {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil || stat.Mode&0o060 != 0o060 {
		return "have its mode let a group read and write it, and add the gateway's user to that"
	}
	group := strconv.Itoa(int(stat.Gid))
	if found, err := user.LookupGroupId(group); err == nil {
		group = found.Name
	}
	return "add the gateway's user to group " + group + " and restart the gateway, which gives the driver a process with it"
}

// Close gives the port back. The library's side ends exclusive use, which would outlast the
// close where somebody else has the port open.
func (p *port) Close() error {
	if p.kept == nil {
		return p.File.Close()
	}
	return errors.Join(p.kept.Close(), p.File.Close())
}

// Discard throws away what has arrived.
func (p *port) Discard() error {
	err := p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
	if err != nil {
		return driver.Errorf(driver.NotConnected, "read %s: the port is gone: %w", p.path, err)
	}
	return nil
}

// Ended reports whether the port hung up: an adapter that was pulled, or the other side of a
// pseudo terminal that was closed.
func (p *port) Ended() bool {
	ended := false
	err := p.control(func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		ended = err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
		return nil
	})
	return ended || err != nil
}

// control runs do with the descriptor, which stays open meanwhile. (File.Fd would
// make it blocking.)
func (p *port) control(do func(fd int) error) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	if err := raw.Control(func(fd uintptr) { doErr = do(int(fd)) }); err != nil {
		return err
	}
	return doErr
}

// LocalAddr and RemoteAddr are the port.
func (p *port) LocalAddr() net.Addr  { return portAddr(p.path) }
func (p *port) RemoteAddr() net.Addr { return portAddr(p.path) }

type portAddr string

func (portAddr) Network() string  { return schemeSerial }
func (a portAddr) String() string { return string(a) }

// millis is a duration as a UART's driver counts it.
func millis(d Duration) uint32 { return uint32(time.Duration(d) / time.Millisecond) }
