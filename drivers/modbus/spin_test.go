package modbus

import (
	"net"
	"runtime"
	"testing"
	"time"
)

func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// A spinner that has looked in vain does not look again before the device was quick for
// a while.
func TestSpinner(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("with one processor nobody spins")
	}
	near, far := pair(t)
	s := newSpinner(near)
	b := make([]byte, 8)
	if n := s.read(b); n != 0 || s.doubts != quickAfter {
		t.Fatalf("read %d of nothing, %d doubts", n, s.doubts)
	}
	if _, err := far.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if n := s.read(b); n != 0 {
		t.Fatalf("it looked although it doubts: %d", n)
	}
	s.slept(quickEnough)
	s.slept(quickEnough + time.Nanosecond)
	for range quickAfter {
		if n := s.read(b); n != 0 {
			t.Fatal("it looked too early")
		}
		s.slept(time.Microsecond)
	}
	if n := s.read(b); string(b[:n]) != "abc" || s.doubts != 0 {
		t.Fatalf("read %q, %d doubts", b[:n], s.doubts)
	}
	_ = far.Close()
	if n := s.read(b); n != 0 {
		t.Errorf("read %d at the end", n)
	}
	if n, err := near.Read(b); n != 0 || err == nil {
		t.Errorf("the next read tells %d, %v", n, err)
	}
	_ = near.Close()
	s.doubts = 0
	if n := s.read(b); n != 0 {
		t.Errorf("read %d of a closed connection", n)
	}
	one, _ := net.Pipe()
	if s := newSpinner(one); s.read(b) != 0 || s.raw != nil {
		t.Error("it spins on what has no descriptor")
	}
}
