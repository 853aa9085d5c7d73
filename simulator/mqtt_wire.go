package simulator

import (
	"net"
	"sync"
	"time"
)

// wire is a client's connection to a broker, with the faults of the server on it: under Silent
// nothing goes through until the fault ends, under Garbage every byte to the client is another,
// and Cut ends the connection in the middle of what is written next.
type wire struct {
	net.Conn
	server *Server
	done   <-chan struct{} // the server ends
	closed chan struct{}
	once   sync.Once
}

func newWire(c net.Conn, s *Server, done <-chan struct{}) *wire {
	return &wire{Conn: c, server: s, done: done, closed: make(chan struct{})}
}

// through waits while the server is silent, and returns the fault that it is under then.
func (w *wire) through() *Fault {
	for f := w.server.fault.Load(); f != nil; {
		var changed <-chan struct{}
		if f, changed = w.server.watch(); f == nil || f.Kind != Silent {
			return f
		}
		select {
		case <-changed:
		case <-w.closed:
			return nil
		case <-w.done:
			return nil
		}
	}
	return nil
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	w.through()
	n, err := w.Conn.Read(b)
	w.through()
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	f := w.through()
	switch {
	case f != nil && f.Kind == Garbage:
		wrong := make([]byte, len(b))
		noise(wrong, uint64(time.Now().UnixNano()))
		return w.Conn.Write(wrong)
	case f != nil && f.Kind == Cut:
		if _, err := w.Conn.Write(b[:len(b)/2]); err != nil {
			return 0, err
		}
		w.Close()
		return 0, net.ErrClosed
	}
	return w.Conn.Write(b)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}
