package serial

import (
	"errors"
	"io/fs"
	"os"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
)

// openPort opens a port for this process alone and sets its mode.
//
// The mode, with any baud rate, is the library's work. The reading and writing is
// not: its reads end at a time-out without an error, its writes are not guarded
// against its Close, and it blocks a thread in select(2), whose descriptors end
// at 1024. A file of package os has deadlines, can be closed at any time, and waits
// in the runtime's poller.
func openPort(set *linkSettings) (*os.File, error) {
	// O_NONBLOCK: without it open would wait for a carrier.
	f, err := os.OpenFile(set.Port, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(set.Port, err)
	}
	if err := claim(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := setMode(set); err != nil {
		_ = f.Close()
		return nil, err
	}
	// Only now: the library opens the port too, which exclusive use would refuse.
	err = control(f, func(fd int) error {
		return errors.Join(unix.IoctlSetInt(fd, unix.TIOCEXCL, 0), unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH))
	})
	if err != nil {
		_ = f.Close()
		return nil, driver.Errorf(driver.NotConnected, "open %s: %w", set.Port, err)
	}
	return f, nil
}

// claim locks the port. TIOCEXCL does not stop root; a lock stops everybody who asks.
func claim(f *os.File) error {
	return control(f, func(fd int) error {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return driver.Errorf(driver.InvalidConfig, "open %s: it is no serial port: %w", f.Name(), err)
		}
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return driver.Errorf(driver.NotConnected, "open %s: another process uses the port", f.Name())
		}
		return err
	})
}

// setMode has the library set baud rate and framing, which the port keeps while it
// is open.
func setMode(set *linkSettings) error {
	mode := &serial.Mode{BaudRate: set.Baud, DataBits: set.DataBits, Parity: parities[set.Parity], StopBits: serial.OneStopBit}
	if set.StopBits == 2 {
		mode.StopBits = serial.TwoStopBits
	}
	port, err := serial.Open(set.Port, mode)
	if err == nil {
		err = port.Close()
	}
	var portErr *serial.PortError
	if errors.As(err, &portErr) && portErr.Code() == serial.InvalidSerialPort {
		return driver.Errorf(driver.InvalidConfig, "open %s: the port does not take this mode: %w", set.Port, err)
	}
	return openError(set.Port, err)
}

func openError(port string, err error) error {
	var portErr *serial.PortError
	denied := errors.As(err, &portErr) && portErr.Code() == serial.PermissionDenied
	switch {
	case err == nil:
		return nil
	case denied, errors.Is(err, fs.ErrPermission):
		return driver.Errorf(driver.Denied, "open %s: the gateway may not use the port: add its user to the port's group: %w", port, err)
	default:
		return driver.Errorf(driver.NotConnected, "open %s: %w", port, err)
	}
}

// closePort gives the port back. Exclusive use would outlast the close where somebody
// else has the port open.
func closePort(f *os.File) error {
	_ = control(f, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
	return f.Close()
}

// control runs do with the descriptor, which stays open meanwhile. (File.Fd would
// make it blocking.)
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	if err := raw.Control(func(fd uintptr) { doErr = do(int(fd)) }); err != nil {
		return err
	}
	return doErr
}
