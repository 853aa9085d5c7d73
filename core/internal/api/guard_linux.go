package api

import (
	"log/slog"
	"net"

	"golang.org/x/sys/unix"
)

// Guard lets nobody through whose process, or whose session's leader, refuse knows: a
// driver runs as the gateway's user and may connect to sockets, and must not manage
// the gateway that confines it. The leader counts because a driver leads a session,
// in which all that it starts is.
func Guard(l net.Listener, refuse func(pid int) bool, log *slog.Logger) net.Listener {
	return &guarded{Listener: l, refuse: refuse, log: log}
}

type guarded struct {
	net.Listener
	refuse func(pid int) bool
	log    *slog.Logger
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		pid := peerOf(conn)
		leader, _ := unix.Getsid(pid) // 0 where the peer has gone already
		if pid == 0 || !g.refuse(pid) && !g.refuse(leader) {
			return conn, nil
		}
		g.log.Warn("a driver's process was refused the API", "pid", pid)
		_ = conn.Close() // it is to have nothing
	}
}

// peerOf is the process that connected; 0: it is not known.
func peerOf(conn net.Conn) int {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) { // fails only when closed; then the pid stays 0
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	return pid
}
