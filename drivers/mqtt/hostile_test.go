package mqtt_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

// hostile is a broker that answers a SUBSCRIBE with bytes of the test's choice.
func hostile(t *testing.T, answer func(conn net.Conn, id uint16)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		for {
			pk, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			switch pk := pk.(type) {
			case *packets.ConnectPacket:
				_, _ = conn.Write([]byte{0x20, 2, 0, 0})
			case *packets.SubscribePacket:
				answer(conn, pk.MessageID)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return "tcp://" + l.Addr().String()
}

func suback(id uint16, codes ...byte) []byte {
	return append([]byte{0x90, byte(2 + len(codes)), byte(id >> 8), byte(id)}, codes...)
}

// TestHostileBroker checks that nothing a broker says does more than end the
// connection.
func TestHostileBroker(t *testing.T) {
	for name, answer := range map[string]func(conn net.Conn, id uint16){
		"more codes than filters": func(c net.Conn, id uint16) { _, _ = c.Write(suback(id, 1, 1, 1)) },
		"no codes":                func(c net.Conn, id uint16) { _, _ = c.Write(suback(id)) },
		"endless length":          func(c net.Conn, _ uint16) { _, _ = c.Write(bytes.Repeat([]byte{0x30, 0xff}, 100)) },
		"garbage":                 func(c net.Conn, _ uint16) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"hang up":                 func(c net.Conn, _ uint16) { _ = c.Close() },
		"publish cut short": func(c net.Conn, id uint16) {
			_, _ = c.Write(append(suback(id, 1), 0x32, 0x80, 0x80, 0x80, 0x01, 0, 1, 'm', 0, 1, 'x'))
			_ = c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, settings(t, "broker", hostile(t, answer)), device("d", "m"))
			if err := g.ended(); driver.CodeOf(err) != driver.NotConnected {
				t.Errorf("Subscribe: %v", err)
			}
			if n := len(g.samples); n != 0 {
				t.Errorf("%d samples", n)
			}
		})
	}
}

// TestNoSuback has a broker that never answers a SUBSCRIBE.
func TestNoSuback(t *testing.T) {
	l, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Millisecond,
		Settings: settings(t, "broker", hostile(t, func(net.Conn, uint16) {}))}, driver.Env{})
	check(t, err)
	cfg := device("d", "m")
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	ended := make(chan error)
	go func() {
		ended <- d.(driver.Subscriber).Subscribe(t.Context(), cfg.Points, func(context.Context, []driver.PointSample, func()) error { return nil })
	}()
	if err := <-ended; driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Subscribe: %v", err)
	}
	check(t, l.Close(t.Context()))
}

// TestWriteWithoutAcknowledgement has a broker that never answers a PUBLISH, and one
// that hangs up instead.
func TestWriteWithoutAcknowledgement(t *testing.T) {
	var conn net.Conn
	known := make(chan struct{})
	url := hostile(t, func(c net.Conn, id uint16) {
		conn = c
		_, _ = c.Write(suback(id, 1))
		close(known)
	})
	g := startGateway(t, settings(t, "broker", url), device("d", "m"))
	<-known
	cfg := device("w", "a")
	d, err := g.link.Device(t.Context(), cfg)
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.(driver.Writer).Write(ctx, cfg.Points[0], driver.Int64Value(1)); driver.CodeOf(err) != driver.Timeout {
		t.Errorf("no answer: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = conn.Close() })
	if err := d.(driver.Writer).Write(t.Context(), cfg.Points[0], driver.Int64Value(1)); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("hung up: %v", err)
	}
}
