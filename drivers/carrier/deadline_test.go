package carrier_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// connected gives both ends of a TCP connection.
func connected(t testing.TB) (near carrier.Conn, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := carrier.Parse("tcp://"+l.Addr().String(), carrier.Defaults("none"), carrier.Options{Key: "url"})
	if err != nil {
		t.Fatal(err)
	}
	near, err = carrier.Open(context.Background(), a, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}

// expire has a read of the connection time out.
func expire(t *testing.T, c carrier.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a read whose deadline has passed: %v", err)
	}
}

// arrives waits until what was sent has arrived, which takes the system a moment.
func arrives(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s is not seen", what)
		}
	}
}

// What is looked for without waiting is seen whatever deadline the last read had.
func TestEndIsSeenAfterADeadline(t *testing.T) {
	near, far := connected(t)
	expire(t, near)
	if near.Ended() {
		t.Error("a connection that goes on has ended")
	}
	if _, err := far.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	far.Close()
	arrives(t, "the end behind bytes that nobody reads", near.Ended)
	if err := near.Discard(); err != nil {
		t.Errorf("discard: %v", err)
	}
	if !near.Ended() {
		t.Error("the end is not seen once the bytes before it are gone")
	}
	near.Close()
	if !near.Ended() || near.Discard() == nil {
		t.Error("a connection that was closed here goes on")
	}
}

// Looking costs no memory: it is done before every request.
func TestEndedAllocatesNothing(t *testing.T) {
	near, _ := connected(t)
	if n := testing.AllocsPerRun(100, func() { near.Ended() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
