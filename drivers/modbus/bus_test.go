package modbus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// A bus is what is behind a link in a test: units that answer as answer says, over connections
// that keep what was sent until it is read.
type bus struct {
	t      testing.TB
	codec  framing
	answer func(b *bus, c *busConn, a asked)

	mu    sync.Mutex
	heard []asked
	conns []*busConn
	tasks sync.WaitGroup
}

// asked is a request that came.
type asked struct {
	at   time.Time
	conn int // the how manieth connection
	unit byte
	pdu  []byte
	adu  []byte
}

func newBus(t testing.TB, codec framing) *bus {
	return &bus{t: t, codec: codec, answer: func(_ *bus, c *busConn, a asked) { c.reply(a, registersOf(a)) }}
}

// registersOf answers a request: register n of unit u is 256*u+n, and a write is acknowledged.
func registersOf(a asked) []byte {
	switch a.pdu[0] {
	case modbus.FuncCodeReadHoldingRegisters, modbus.FuncCodeReadInputRegisters:
		start, n := binary.BigEndian.Uint16(a.pdu[1:]), binary.BigEndian.Uint16(a.pdu[3:])
		pdu := []byte{a.pdu[0], byte(2 * n)}
		for i := range n {
			pdu = binary.BigEndian.AppendUint16(pdu, uint16(a.unit)<<8+start+i)
		}
		return pdu
	case modbus.FuncCodeWriteMultipleRegisters:
		return a.pdu[:5]
	}
	return a.pdu
}

// link opens a link to the bus.
func (b *bus) link(settings string, gap time.Duration) *link {
	b.t.Helper()
	d := &modbusDriver{open: func(context.Context, *carrier.Address, driver.Env) (carrier.Conn, error) { return b.connect() }}
	l, err := d.Open(b.t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second, Gap: gap, Settings: json.RawMessage(settings)}, driver.Env{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			b.t.Error(err)
		}
		b.tasks.Wait()
	})
	return l.(*link)
}

// polled makes a device and the reader of all its points.
func (b *bus) polled(l *link, settings string, addresses ...string) (*device, func() ([]driver.Sample, error)) {
	b.t.Helper()
	var points []driver.Point
	for i, a := range addresses {
		points = append(points, driver.Point{Index: i, Name: a, Address: a})
	}
	d, err := l.Device(b.t.Context(), driver.DeviceConfig{Name: "d", Settings: json.RawMessage(settings), Points: points})
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := d.(driver.Preparer).Prepare(points)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.(*device), func() ([]driver.Sample, error) {
		out := make([]driver.Sample, len(points))
		return out, r.Read(b.t.Context(), points, out)
	}
}

func (b *bus) connect() (carrier.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &busConn{bus: b, number: len(b.conns), opened: time.Now()}
	c.changed.L = &c.mu
	b.conns = append(b.conns, c)
	return c, nil
}

// requests are those that came so far.
func (b *bus) requests() []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.heard)
}

// A busConn is the driver's end of a connection.
type busConn struct {
	bus    *bus
	number int
	opened time.Time

	mu       sync.Mutex
	changed  sync.Cond
	in       []byte
	over     bool // the other side has ended it
	closed   time.Time
	deadline time.Time
	timer    *time.Timer
}

// deliver has bytes arrive.
func (c *busConn) deliver(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, b...)
	c.changed.Broadcast()
}

// reply answers a request.
func (c *busConn) reply(a asked, pdu []byte) { c.deliver(c.framed(a, a.unit, pdu)) }

// framed is an answer to a request, of a unit.
func (c *busConn) framed(a asked, unit byte, pdu []byte) []byte {
	adu := encode(c.bus.t, c.bus.codec, unit, pdu)
	if !c.bus.codec.serial() {
		copy(adu[:2], a.adu)
	}
	return adu
}

// end is the other side's close.
func (c *busConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.changed.Broadcast()
}

// closedAt is when the driver has closed its end; zero: it has not.
func (c *busConn) closedAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Write takes requests, and has each answered beside.
func (c *busConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over {
		return 0, errors.New("broken pipe")
	}
	for rest := slices.Clone(b); len(rest) > 0; {
		size := len(rest)
		if !c.bus.codec.serial() {
			size = lengthEnd + int(binary.BigEndian.Uint16(rest[4:]))
		}
		adu := rest[:size:size]
		rest = rest[size:]
		p, err := c.bus.codec.packager(c.bus.codec.unit(adu)).Decode(adu)
		if err != nil {
			c.bus.t.Errorf("a request that is none: % X: %v", adu, err)
			return 0, err
		}
		a := asked{time.Now(), c.number, c.bus.codec.unit(adu), append([]byte{p.FunctionCode}, p.Data...), adu}
		c.bus.mu.Lock()
		c.bus.heard = append(c.bus.heard, a)
		c.bus.mu.Unlock()
		c.bus.tasks.Go(func() { c.bus.answer(c.bus, c, a) })
	}
	return len(b), nil
}

func (c *busConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case !c.closed.IsZero():
			return 0, net.ErrClosed
		case len(c.in) > 0:
			n := copy(b, c.in)
			c.in = c.in[n:]
			return n, nil
		case c.over:
			return 0, io.EOF
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.changed.Wait()
	}
}

func (c *busConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(time.Until(at), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	c.changed.Broadcast()
	return nil
}

func (c *busConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.IsZero() {
		c.closed = time.Now()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.changed.Broadcast()
	return nil
}

func (c *busConn) Discard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = nil
	return nil
}

func (c *busConn) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over && len(c.in) == 0
}

func (*busConn) LocalAddr() net.Addr              { return nil }
func (*busConn) RemoteAddr() net.Addr             { return nil }
func (*busConn) SetDeadline(time.Time) error      { return nil }
func (*busConn) SetWriteDeadline(time.Time) error { return nil }
