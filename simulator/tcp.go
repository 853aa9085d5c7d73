package simulator

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// port is a listening TCP port that can refuse connections for a while and come back under the
// same number.
type port struct {
	listen string
	handle func(net.Conn) // owns the connection; returns when it is closed

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	held     int          // a socket that keeps the number while refusing, -1 without
	address  string
	conns    map[net.Conn]struct{}
	accepted uint64
	closed   bool
	done     chan struct{}  // closed by close
	wg       sync.WaitGroup // of the accepting goroutines
	serving  sync.WaitGroup // of the connections
}

func newPort(listen string, handle func(net.Conn)) *port {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	return &port{listen: listen, handle: handle, held: -1, conns: make(map[net.Conn]struct{}), done: make(chan struct{})}
}

func (p *port) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listenLocked(p.listen)
}

func (p *port) listenLocked(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	p.listener, p.address = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
	return nil
}

func (p *port) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address == "" {
		return p.listen
	}
	return p.address
}

func (p *port) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Most likely too many open files: others may close some.
			select {
			case <-p.done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		p.start(l, c)
	}
}

// start hands a connection to a goroutine of its own, unless the port closed or refused in the
// meantime.
func (p *port) start(l net.Listener, c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != l {
		c.Close()
		return
	}
	p.conns[c] = struct{}{}
	p.accepted++
	p.serving.Go(func() {
		p.handle(c)
		c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	})
}

// cut closes the open connections with a reset, as a crash does.
func (p *port) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

func (p *port) cutLocked() {
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		c.Close()
	}
}

// refuse closes the listener and the connections. A socket that is bound and does not listen
// keeps the number, and the kernel refuses in its name.
func (p *port) refuse() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener == nil {
		return nil
	}
	at, _ := p.listener.Addr().(*net.TCPAddr)
	err := p.listener.Close()
	p.listener = nil
	p.cutLocked()
	p.held = hold(at)
	return err
}

func (p *port) admit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != nil {
		return nil
	}
	// Both sockets may be bound at once, since both say SO_REUSEADDR and only one of them listens.
	if err := p.listenLocked(p.address); err != nil {
		return fmt.Errorf("listen again: %w", err)
	}
	p.release()
	return nil
}

func (p *port) release() {
	if p.held >= 0 {
		_ = unix.Close(p.held)
		p.held = -1
	}
}

// hold binds a socket to an address, and returns -1 when it cannot: the number may then be gone
// when it is needed again, which admit reports.
func hold(at *net.TCPAddr) int {
	if at == nil {
		return -1
	}
	family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: at.Port, Addr: [16]byte(at.IP.To16())})
	if v4 := at.IP.To4(); v4 != nil {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(v4)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil || unix.Bind(fd, address) != nil {
		_ = unix.Close(fd)
		return -1
	}
	return fd
}

// close ends everything and waits for it.
func (p *port) close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.done)
	var err error
	if p.listener != nil {
		err = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.Close()
	}
	p.release()
	p.mu.Unlock()
	p.wg.Wait()
	p.serving.Wait()
	return err
}

// idle waits until no connection is left. It may be called while the port refuses.
func (p *port) idle() { p.serving.Wait() }

func (p *port) counts(c *ServerCounts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Connections, c.Open = p.accepted, len(p.conns)
}
