package serial

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
)

// openPort opens a port for this process alone and sets its mode. A file of package os
// has deadlines, can be closed at any time, and waits in the runtime's poller.
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
	err = control(f, func(fd int) error {
		if err := setMode(fd, set); err != nil {
			return driver.Errorf(driver.InvalidConfig, "open %s: the port does not take this mode: %w", set.Port, err)
		}
		if err := exclude(fd); err != nil {
			return driver.Errorf(driver.NotConnected, "open %s: %w", set.Port, err)
		}
		return nil
	})
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// exclude refuses the port to programs that ask for no lock, and throws away what came before.
// Exclusive use is a flag of the terminal and not of who set it, and ends with the terminal's
// last close: of a pseudo terminal that is the end of its other side, so that the port of a
// driver that was killed would be busy for as long as that lives. There the lock has to do.
func exclude(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if !isPseudo(stat.Rdev) {
		if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
			return err
		}
	}
	return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH)
}

// isPseudo reports whether a device is the terminal's side of a pseudo terminal; see
// Documentation/admin-guide/devices.txt of Linux: 3 is that of BSD, 136 to 143 of Unix 98.
func isPseudo(device uint64) bool {
	major := unix.Major(device)
	return major == 3 || major >= 136 && major <= 143
}

// claim locks the port. Exclusive use does not stop root; a lock stops everybody who asks,
// and ends with the process.
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

// openError says what is in the way: nobody, another program, the rights of the user, or
// the driver's confinement, which lets it look whether it were allowed otherwise.
func openError(port string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return driver.Errorf(driver.NotConnected, "open %s: another process uses the port: %w", port, err)
	case !errors.Is(err, fs.ErrPermission):
		return driver.Errorf(driver.NotConnected, "open %s: %w", port, err)
	case unix.Faccessat(unix.AT_FDCWD, port, unix.R_OK|unix.W_OK, unix.AT_EACCESS) == nil:
		return driver.Errorf(driver.Denied, "open %s: its confinement keeps the driver from the port, which is new or was replaced since the driver's start: "+
			"the gateway gives it a new process by itself: %w", port, err)
	}
	return driver.Errorf(driver.Denied, "open %s: the driver's user may not use the port: %s: %w", port, remedy(port), err)
}

// remedy says what the user lacks.
func remedy(port string) string {
	var stat unix.Stat_t
	if unix.Stat(port, &stat) != nil || stat.Mode&0o060 != 0o060 {
		return "have its mode let a group read and write it, and add the gateway's user to that"
	}
	group := strconv.Itoa(int(stat.Gid))
	if found, err := user.LookupGroupId(group); err == nil {
		group = found.Name
	}
	return "add the gateway's user to group " + group + " and restart the gateway, which gives the driver a process with it"
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
