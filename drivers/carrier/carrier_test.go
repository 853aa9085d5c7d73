package carrier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settings decodes settings over the defaults.
func settings(t *testing.T, text string) carrier.Settings {
	t.Helper()
	s := carrier.Defaults("none")
	if text != "" {
		check(t, json.Unmarshal([]byte(text), &s))
	}
	return s
}

// open opens what is at an address; it is closed with the test.
func open(t *testing.T, address, text string) carrier.Conn {
	t.Helper()
	a, err := carrier.Parse(address, settings(t, text), carrier.Options{Key: "url"})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := carrier.Open(ctx, a, driver.Env{})
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listen accepts one connection and hands it to serve.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// line makes a pseudo terminal; what is at its far end is returned with the path of the port.
func line(t *testing.T) (far *os.File, path string) {
	t.Helper()
	master, tty, err := pty.Open()
	check(t, err)
	_, err = term.MakeRaw(int(tty.Fd()))
	check(t, err)
	t.Cleanup(func() { _ = master.Close(); _ = tty.Close() })
	return master, tty.Name()
}

// echo sends back what comes.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// Every carrier carries bytes, and has deadlines.
func TestCarriers(t *testing.T) {
	far, path := line(t)
	go func() {
		var b [64]byte
		for {
			n, err := far.Read(b[:])
			if err != nil {
				return
			}
			if _, err := far.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var b [64]byte
		for {
			n, from, err := datagrams.ReadFrom(b[:])
			if err != nil {
				return
			}
			_, _ = datagrams.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { _ = datagrams.Close(); <-ended })
	for name, address := range map[string]string{
		"tcp": "tcp://" + listen(t, echo), "udp": "udp://" + datagrams.LocalAddr().String(), "port": path, "rfc2217": "rfc2217://" + listen(t, telnet(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, address, "")
			check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			sent := []byte{1, 2, 0xFF, 0xFF, 3, '\r', '\n'}
			_, err := c.Write(sent)
			check(t, err)
			got := make([]byte, 0, 16)
			for len(got) < len(sent) {
				var b [16]byte
				n, err := c.Read(b[:])
				check(t, err)
				got = append(got, b[:n]...)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("got % x, want % x", got, sent)
			}
			check(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
			var b [1]byte
			if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a read that timed out: %v", err)
			}
			if c.Ended() {
				t.Error("it has ended, after a time-out")
			}
			check(t, c.Discard())
			check(t, c.Close())
		})
	}
}

// What arrived is thrown away, also after a time-out, and nothing of what comes later.
func TestDiscard(t *testing.T) {
	far, path := line(t)
	peers := make(chan net.Conn, 1)
	address := "tcp://" + listen(t, func(c net.Conn) { peers <- c; echo(c) })
	for name, open := range map[string]func() (carrier.Conn, io.Writer){
		"port": func() (carrier.Conn, io.Writer) { return open(t, path, ""), far },
		"tcp":  func() (carrier.Conn, io.Writer) { c := open(t, address, ""); return c, <-peers },
	} {
		t.Run(name, func(t *testing.T) {
			c, other := open()
			check(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
			var b [16]byte
			if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			_, err := other.Write([]byte("old"))
			check(t, err)
			for end := time.Now().Add(5 * time.Second); !readable(t, c); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nothing came")
				}
			}
			check(t, c.Discard())
			_, err = other.Write([]byte("new"))
			check(t, err)
			check(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
			n, err := c.Read(b[:])
			if string(b[:n]) != "new" || err != nil {
				t.Errorf("read %q, %v", b[:n], err)
			}
			check(t, c.Close())
		})
	}
}

// readable reports whether something has come that was not read.
func readable(t *testing.T, c carrier.Conn) bool {
	t.Helper()
	raw, err := c.(interface {
		SyscallConn() (rawConn, error)
	}).SyscallConn()
	check(t, err)
	var has bool
	check(t, raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		has = err == nil && n > 0
	}))
	return has
}

// The end of a connection, or of a port, is seen before anything is sent.
func TestEnded(t *testing.T) {
	gone := make(chan struct{})
	c := open(t, "tcp://"+listen(t, func(c net.Conn) { _ = c.Close(); close(gone) }), "")
	<-gone
	soon(t, c.Ended)
	far, path := line(t)
	p := open(t, path, "")
	if p.Ended() {
		t.Error("a port that is there has ended")
	}
	_ = far.Close()
	soon(t, p.Ended)
}

func soon(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// A port is one driver's, and the other is told whose it is; a link of a fixed name may lead to
// another port from one opening to the next.
func TestPortsComeAndGo(t *testing.T) {
	_, path := line(t)
	first := open(t, path, "")
	a, err := carrier.Parse(path, settings(t, ""), carrier.Options{Key: "port"})
	check(t, err)
	if _, err := carrier.Open(t.Context(), a, driver.Env{}); driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "another process uses the port") {
		t.Errorf("a port in use: %v", err)
	}
	check(t, first.Close())
	link := filepath.Join(t.TempDir(), "by-id")
	for range 5 {
		far, path := line(t)
		check(t, os.Symlink(path, link))
		c := open(t, link, "")
		_, err := far.Write([]byte("x"))
		check(t, err)
		var b [1]byte
		check(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err = c.Read(b[:])
		check(t, err)
		_ = far.Close()
		check(t, os.Remove(link))
		check(t, c.Close())
	}
	if a, err = carrier.Parse(link, settings(t, ""), carrier.Options{Key: "port"}); err != nil {
		t.Fatal(err)
	}
	if _, err := carrier.Open(t.Context(), a, driver.Env{}); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("a port that has gone: %v", err)
	}
}

// The rate need not be one of the usual ones, and the framing is as it was asked.
func TestPortMode(t *testing.T) {
	_, path := line(t)
	c := open(t, path, `{"baud": 250000, "data_bits": 7, "stop_bits": 2}`)
	raw, err := c.(interface {
		SyscallConn() (rawConn, error)
	}).SyscallConn()
	check(t, err)
	var mode *unix.Termios
	var got error
	check(t, raw.Control(func(fd uintptr) { mode, got = unix.IoctlGetTermios(int(fd), unix.TCGETS2) }))
	check(t, got)
	if mode.Ispeed != 250000 || mode.Ospeed != 250000 || mode.Cflag&unix.CSTOPB == 0 || mode.Lflag&(unix.ECHO|unix.ICANON) != 0 {
		t.Errorf("the mode is %+v", mode)
	}
}

// Wrong settings and addresses are told with their keys, all at once.
func TestParse(t *testing.T) {
	for _, c := range []struct{ address, settings, key, text string }{
		{"", "", "url", "it is missing: use tcp://HOST:PORT, tls://HOST:PORT"},
		{"tcp://plc", "", "url", "has no port: write it as tcp://HOST:PORT"},
		{"tcp://plc:0", "", "url", "port"},
		{"serial://ttyUSB0", "", "url", "no absolute path"},
		{"/dev/../etc/passwd", "", "url", "no absolute path"},
		{"telnet://plc:23", "", "url", "no address of this driver"},
		{"tcp://plc:1", `{"baud": 1}`, "baud", "not within 50 and"},
		{"tcp://plc:1", `{"parity": "N"}`, "parity", "is not none, odd"},
		{"tcp://plc:1", `{"stop_bits": 3}`, "stop_bits", "is not 1 or 2"},
		{"tcp://plc:1", `{"data_bits": 9}`, "data_bits", "is not 5, 6"},
		{"tcp://plc:1", `{"dtr": "yes"}`, "dtr", "is not on, off or leave"},
		{"tcp://plc:1", `{"rs485": {}}`, "rs485", "only a serial port of this machine"},
		{"/dev/ttyS0", `{"rs485": {"rts_on_send": "up"}}`, "rs485", "is not high or low"},
		{"/dev/ttyS0", `{"rs485": {"delay_before": "1500us"}}`, "rs485", "whole milliseconds"},
		{"/dev/ttyS0", `{"rs485": {}, "rts": "on"}`, "rts", "leave it out"},
		{"/dev/ttyS0", `{"source": "127.0.0.1"}`, "source", "no address to connect from"},
		{"tcp://plc:1", `{"source": "eth0"}`, "source", "is no IP address"},
		{"tcp://plc:1", `{"tls": {}}`, "tls", "only tls:// has certificates"},
		{"tls://plc:1", `{"tls": {"cert": "/x"}}`, "tls", "belong together"},
		{"tls://plc:1", `{"tls": {"ca": "ca.pem"}}`, "tls", "no absolute path"},
		{"udp://plc:1", `{"keep_alive": "1s"}`, "keep_alive", "on a TCP connection"},
		{"tcp://plc:1", `{"pause_after_connect": "2m"}`, "pause_after_connect", "is not within"},
		{"tcp://plc:1", `{"idle_close": "-1s"}`, "idle_close", "is not within"},
	} {
		_, err := carrier.Parse(c.address, settings(t, c.settings), carrier.Options{Key: "url"})
		found := driver.ConfigErrors(err)
		if len(found) != 1 || found[0].Key != c.key || !strings.Contains(found[0].Text, c.text) {
			t.Errorf("%s %s: %v, want %s: %s", c.address, c.settings, err, c.key, c.text)
		}
	}
}
