package simulator

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is what a protocol does for a server.
type endpoint interface {
	open() error
	addr() string
	refuse() error // closes connections and takes no new ones, until admit
	admit() error
	cut() // closes the connections that are open
	close() error
	counts(*ServerCounts)
}

// Server is the handle of one running server.
type Server struct {
	sim      *Simulator
	name     string
	protocol Protocol
	devices  []*Device
	end      endpoint
	fault    atomic.Pointer[Fault]
	since    atomic.Int64 // when the fault began, in ns after the start

	mu      sync.Mutex // held while the fault is changed
	refused bool

	watching sync.Mutex    // guards changed, and is never held while anything waits
	changed  chan struct{} // closed when the fault changes
}

func (s *Server) open() error { return s.end.open() }

// Addr returns host:port, or the path of a serial server's tty. A port stays the same when the
// server refuses connections for a while; a tty's path does so only when it has a link.
func (s *Server) Addr() string { return s.end.addr() }

// Authority returns the certificate, in PEM, by which a client knows a Modbus server over TLS;
// nil of any other.
func (s *Server) Authority() []byte {
	if m, ok := s.end.(*modbusEndpoint); ok {
		return m.authority
	}
	return nil
}

// Name returns the server's name.
func (s *Server) Name() string { return s.name }

// Devices returns the server's devices in the order of the config.
func (s *Server) Devices() []*Device { return append([]*Device(nil), s.devices...) }

// Fault puts the server, with all devices that have no fault of their own, under a fault. It
// replaces one that is there.
func (s *Server) Fault(f Fault) error {
	if err := f.check(s.protocol, true); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.Store(int64(time.Since(s.sim.started)))
	if f.Kind != Refused && f.Kind != Unplugged {
		s.setFault(&f)
		return s.setRefused(false)
	}
	s.setFault(nil)
	return s.setRefused(true)
}

func (s *Server) setFault(f *Fault) {
	s.watching.Lock()
	defer s.watching.Unlock()
	s.fault.Store(f)
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch returns the fault and a channel that is closed when it changes.
func (s *Server) watch() (*Fault, <-chan struct{}) {
	s.watching.Lock()
	defer s.watching.Unlock()
	return s.fault.Load(), s.changed
}

// Clear ends the server's fault.
func (s *Server) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFault(nil)
	return s.setRefused(false)
}

func (s *Server) setRefused(on bool) error {
	if s.refused == on {
		return nil
	}
	change := s.end.admit
	if on {
		change = s.end.refuse
	}
	if err := change(); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	s.refused = on
	return nil
}

// Cut closes the connections that are open; clients may connect again at once.
func (s *Server) Cut() { s.end.cut() }

// Restart stops the server and starts it again on the same port, as a crash and a quick restart
// would. Its devices keep their memory, and a broker keeps its sessions with what they have not
// received yet.
func (s *Server) Restart() error {
	return errors.Join(s.Fault(Fault{Kind: Refused}), s.Clear())
}

// Counts returns what the server saw.
func (s *Server) Counts() ServerCounts {
	c := ServerCounts{Protocol: s.protocol, Addr: s.end.addr()}
	s.end.counts(&c)
	return c
}

// deviceError is an error in a device's config.
type deviceError struct {
	device string
	err    error
}

func (e *deviceError) Error() string { return fmt.Sprintf("device %s: %v", e.device, e.err) }

func (e *deviceError) Unwrap() error { return e.err }
