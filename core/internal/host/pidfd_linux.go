package host

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidfd is a process that need not be a child of this one. It means the same process for ever,
// also after the kernel has given its number to another.
type pidfd struct{ file *os.File }

func openPidfd(pid int) (*pidfd, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return &pidfd{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// wait waits for the death, which takes no thread. It is not ok after close.
func (p *pidfd) wait() (dead bool) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	err = conn.Read(func(fd uintptr) bool { return readable(fd) })
	return err == nil
}

// dead reports whether the process is dead, reaped or not.
func (p *pidfd) dead() bool {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return true
	}
	dead := true
	_ = conn.Control(func(fd uintptr) { dead = readable(fd) })
	return dead
}

func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}

func (p *pidfd) signal(s syscall.Signal) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	return os.NewSyscallError("pidfd_send_signal", sent)
}

func (p *pidfd) close() { _ = p.file.Close() }

// pidfdInfo is the kernel's struct pidfd_info, see linux/pidfd.h.
type pidfdInfo struct {
	mask     uint64
	cgroup   uint64
	pids     [3]uint32
	ids      [8]uint32
	exitCode int32
	_        [2]uint32
}

const (
	pidfdGetInfo  = 0xC0000000 | unsafe.Sizeof(pidfdInfo{})<<16 | 0xFF<<8 | 11
	pidfdInfoExit = 1 << 3
)

// exit tells how the process ended, if that can be known: it was a child of this
// process, or the kernel (Linux 6.15) tells it of one that its parent has reaped.
func (p *pidfd) exit() (status syscall.WaitStatus, known bool) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return 0, false
	}
	for range 5 {
		_ = conn.Control(func(fd uintptr) { status, known = exitStatus(fd) })
		if known {
			break
		}
		<-time.After(2 * time.Millisecond) // its parent reaps it at once, or never
	}
	return status, known
}

func exitStatus(fd uintptr) (syscall.WaitStatus, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	return syscall.WaitStatus(info.exitCode), errno == 0 && info.mask&pidfdInfoExit != 0
}

// reap takes the remains of a child that was adopted from an earlier life of this
// very process; of any other process it does nothing.
func (p *pidfd) reap() {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOHANG, nil)
	})
}

// exitOfStranger is the Exit of a process that was not this one's child.
func (p *pidfd) exitOfStranger() Exit {
	e := Exit{Code: -1, At: time.Now()}
	p.reap()
	status, known := p.exit()
	switch {
	case !known:
		e.Unknown = true
	case status.Signaled():
		e.Signal = status.Signal().String()
	default:
		e.Code = status.ExitStatus()
	}
	return e
}

// limitFiles bounds every file that the process writes, the one with its lines above all.
func limitFiles(pid int, bytes int64) error {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit)
	if err == nil {
		limit.Cur, limit.Max = min(limit.Cur, uint64(bytes)), min(limit.Max, uint64(bytes))
		err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
	}
	if err != nil {
		return fmt.Errorf("limit the files of process %d: %w", pid, err)
	}
	return nil
}
