package modbus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// An echoConn answers every request of 100 registers at once, without a system call.
type echoConn struct {
	net.Conn
	answer []byte
	ids    []byte
}

func (c *echoConn) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 12 {
		c.ids = append(c.ids, b[i], b[i+1])
	}
	return len(b), nil
}

func (c *echoConn) Read(b []byte) (int, error) {
	n := 0
	for len(c.ids) > 0 && len(b)-n >= len(c.answer) {
		copy(b[n:], c.answer)
		copy(b[n:], c.ids[:2])
		c.ids = c.ids[2:]
		n += len(c.answer)
	}
	c.ids = c.ids[:copy(c.ids[:cap(c.ids)], c.ids)]
	return n, nil
}

func (*echoConn) SetReadDeadline(time.Time) error  { return nil }
func (*echoConn) SetWriteDeadline(time.Time) error { return nil }
func (*echoConn) Close() error                     { return nil }

// BenchmarkPoll is what a poll of 100 registers costs beside the system calls.
func BenchmarkPoll(b *testing.B) {
	for _, kind := range []string{"uint16", "uint16:badc", "float32"} {
		b.Run(kind, func(b *testing.B) {
			conn := &echoConn{answer: append([]byte{0, 0, 0, 0, 0, 203, 1, 3, 200}, make([]byte, 200)...)}
			link, err := modbus.NewOver(func(context.Context, string) (net.Conn, error) { return conn, nil }).
				Open(b.Context(), driver.LinkConfig{Timeout: time.Second, Settings: json.RawMessage(`{"url":"tcp://x"}`)}, driver.Env{})
			if err != nil {
				b.Fatal(err)
			}
			var points []driver.Point
			stride := 1
			if kind == "float32" {
				stride = 2
			}
			for i := range 100 / stride {
				points = append(points, driver.Point{Index: i, Address: fmt.Sprintf("holding:%d:%s", i*stride, kind)})
			}
			device, err := link.Device(b.Context(), driver.DeviceConfig{Points: points})
			if err != nil {
				b.Fatal(err)
			}
			reader, err := device.(driver.Preparer).Prepare(points)
			if err != nil {
				b.Fatal(err)
			}
			f := &flatOut{reader, make([]driver.Sample, len(points))}
			b.ReportAllocs()
			for b.Loop() {
				f.run(b, 1)
			}
		})
	}
}
