package caller

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ErrGone is the error of a peer that has ended: whoever has its connection is not known.
var ErrGone = errors.New("the process that opened the connection has ended")

var errNoPeer = errors.New("the kernel does not say which process it is: call from the gateway's own machine and container")

// A Peer is the process that opened a connection. Its methods may be called concurrently.
type Peer struct {
	pid   int
	uid   int
	start uint64
	fd    *os.File // its pidfd; nil on kernels before 5.3
}

// Of returns the process at the other end of conn. The caller closes it.
func Of(conn net.Conn) (*Peer, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errNoPeer
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *Peer
	if failed := raw.Control(func(fd uintptr) { peer, err = peerOf(int(fd)) }); failed != nil {
		return nil, failed
	}
	return peer, err
}

func peerOf(socket int) (*Peer, error) {
	who, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, err
	}
	if who.Pid <= 0 {
		return nil, errNoPeer
	}
	p := &Peer{pid: int(who.Pid), uid: int(who.Uid)}
	if p.fd, err = hold(socket, p.pid); err != nil {
		return nil, err
	}
	s, err := look(p.pid)
	if err != nil || s.dead || p.Ended() {
		p.Close()
		return nil, ErrGone
	}
	p.start = s.start
	return p, nil
}

// hold opens the peer's pidfd: from the socket where the kernel has kept it (6.5), so that
// it is the process that connected whatever has become of its number, else by the number.
func hold(socket, pid int) (*os.File, error) {
	fd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		if fd, err = unix.PidfdOpen(pid, 0); errors.Is(err, unix.ENOSYS) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, ErrGone // it was reaped: the kernel has no descriptor of it any more
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "peer"), nil
}

// PID is the number of the process.
func (p *Peer) PID() int { return p.pid }

// Ended reports whether the process has ended.
func (p *Peer) Ended() bool {
	if p.fd == nil {
		s, err := look(p.pid)
		return err != nil || s.dead || p.start != 0 && s.start != p.start
	}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return true
	}
	ended := true
	_ = raw.Control(func(fd uintptr) { ended = readable(fd) }) // closed: it counts as ended
	return ended
}

// Wait waits for the end of the process, or for Close, and reports whether it was the end.
// Where the kernel has no descriptor of processes it reports at once that it was not.
func (p *Peer) Wait() (ended bool) {
	if p.fd == nil {
		return false
	}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(readable) == nil
}

func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}

// Close frees the descriptor, and ends Wait.
func (p *Peer) Close() {
	if p.fd != nil {
		_ = p.fd.Close()
	}
}
