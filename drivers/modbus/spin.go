package modbus

import (
	"net"
	"runtime"
	"syscall"
	"time"
)

const (
	// spinFor is how long a caller that polls without a pause looks for the answer of
	// a quick device before it sleeps. To sleep and be woken takes longer than such a
	// device does, and lets it fall asleep as well.
	spinFor = 100 * time.Microsecond
	// quickEnough is how long a wait may be for which it would pay to look, and
	// quickAfter how many such waits must have followed a look in vain.
	quickEnough = 2 * spinFor
	quickAfter  = 8
)

// A spinner reads from a connection without sleeping. It belongs to whoever reads.
type spinner struct {
	raw    syscall.RawConn // nil: it cannot
	doubts int             // quick waits to be seen before the next look
}

func newSpinner(conn net.Conn) spinner {
	c, ok := conn.(syscall.Conn)
	if !ok || runtime.NumCPU() == 1 {
		return spinner{}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return spinner{}
	}
	return spinner{raw: raw}
}

// read returns what comes within spinFor; 0: nothing, or what the next read will tell.
func (s *spinner) read(b []byte) (n int) {
	if s.raw == nil || s.doubts > 0 {
		return 0
	}
	until := time.Now().Add(spinFor)
	_ = s.raw.Read(func(fd uintptr) bool { // the next read tells of errors
		for {
			var again bool
			if n, again = readOnce(fd, b); !again || time.Now().After(until) {
				return true
			}
		}
	})
	if n = max(n, 0); n == 0 {
		s.doubts = quickAfter
	}
	return n
}

// slept tells how long an answer took for which the reader slept.
func (s *spinner) slept(wait time.Duration) {
	switch {
	case wait > quickEnough:
		s.doubts = quickAfter
	case s.doubts > 0:
		s.doubts--
	}
}
