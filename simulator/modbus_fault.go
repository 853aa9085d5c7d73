package simulator

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
)

// faultFor returns the fault that hits a request, or nil.
func (d *Device) faultFor(pdu []byte) *Fault {
	f := d.current()
	if f == nil || !f.hits(pdu) {
		return nil
	}
	if f.Every > 1 {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.hit++; d.hit%f.Every != 0 {
			return nil
		}
	}
	return f
}

// hits reports whether a request touches the addresses that a fault is about.
func (f *Fault) hits(pdu []byte) bool {
	if f.Function != 0 && f.Function != pdu[0] {
		return false
	}
	if f.Kind == Most {
		start, n, ok := touched(pdu)
		return ok && start >= 0 && n > f.Most
	}
	if f.Range == "" {
		return true
	}
	table, first, last := f.from()
	start, n, ok := touched(pdu)
	return ok && table == tableOf(pdu[0]) && start <= last && start+n > first
}

// touched is the block of addresses of a request of registers or coils.
func touched(pdu []byte) (start, n int, ok bool) {
	if len(pdu) < 5 {
		return 0, 0, false
	}
	start, n = int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	switch pdu[0] {
	case 1, 2, 3, 4, 15, 16, 23:
		return start, n, true
	case 5, 6, 22:
		return start, 1, true
	}
	return 0, 0, false
}

// tableOf is the table that a function is about, as addresses name it.
func tableOf(function byte) string {
	switch function {
	case 1, 5, 15:
		return "coil"
	case 2:
		return "discrete"
	case 4:
		return "input"
	}
	return "holding"
}

// refuses is the exception that a fault answers with; 0: none.
func (f *Fault) refuses() byte {
	if f == nil {
		return 0
	}
	switch f.Kind {
	case Exception, Most:
		return f.Code
	case Busy:
		return 6
	}
	return 0
}

// readdress changes what an answer says of whose it is.
func (f *Fault) readdress(shown *modbus.Frame) {
	if f == nil {
		return
	}
	switch f.Kind {
	case Unit:
		shown.Unit++
	case Transaction:
		shown.Transaction++
	case NoTransaction:
		shown.Transaction = 0
	}
}

// clock is the time for a device's signals under a fault that began at a time.
func (f *Fault) clock(elapsed, since time.Duration) time.Duration {
	switch {
	case f == nil:
	case f.Kind == Frozen:
		return min(elapsed, since)
	case f.Kind == Jump:
		return elapsed + f.Delay
	}
	return elapsed
}

// faulty answers a request under a fault. Nothing else is pending.
func (c *modbusConn) faulty(d *Device, f modbus.Frame, request []byte, now time.Time, fault *Fault) {
	if c.swallows(now, fault) {
		d.ignore(f, len(request))
		return
	}
	c.pending = append(c.pending, c.serveTo(&c.out, d, f, len(request), now, fault))
	switch fault.Kind {
	case Slow:
		c.wait(fault.Delay)
	case Late:
		c.later(fault.Delay)
		return
	case Drip:
		c.drip(fault.Delay)
		return
	case Cut, Half:
		c.out = c.out[:len(c.out)/2]
		c.pending[0].size = len(c.out)
	case Echo:
		c.out = append(append([]byte(nil), request...), c.out...)
	case NoisyEcho:
		heard := append([]byte(nil), request...)
		heard[len(heard)/2] ^= 0x10
		c.out = append(heard, c.out...)
	default:
		c.spoil(fault)
	}
	c.flush()
	if fault.Kind == Cut || fault.Kind == Once {
		c.dead = true
	}
}

// later writes what is pending after a time, in which others are answered.
func (c *modbusConn) later(delay time.Duration) {
	late := &modbusConn{modbusServer: c.modbusServer, net: c.net, out: c.out, pending: c.pending}
	c.out, c.pending = nil, nil
	c.lateness.Go(func() {
		late.wait(delay)
		late.flush()
	})
}

// spoil changes an answer as a fault says.
func (c *modbusConn) spoil(fault *Fault) {
	switch fault.Kind {
	case Garbage:
		noise(c.out, c.pending[0].device.chance())
	case Prefix:
		before := make([]byte, 5)
		noise(before, c.pending[0].device.chance())
		c.out = append(before, c.out...)
	case Length:
		if !c.form.bus() {
			c.out[5]++
		}
	case Extra:
		c.out = append(c.out, 0x55)
	case Checksum:
		if c.form.bus() {
			c.out[len(c.out)-3] ^= 1
		}
	case Duplicate:
		c.out = append(c.out, c.out...)
	case Reset:
		c.out, c.dead = c.out[:0], true
		c.withdraw()
		c.pending = c.pending[:0]
		if t, ok := c.net.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // the other side sees a reset, or an end
		}
	}
}

// swallows reports whether a request under a fault gets no answer at all.
func (c *modbusConn) swallows(now time.Time, fault *Fault) bool {
	switch fault.Kind {
	case Silent:
		return true
	case Deaf:
		return now.Sub(c.began) < fault.Delay
	case Hasty:
		return now.Sub(c.last) < fault.Delay
	}
	return false
}

// enter takes a connection in, unless the server has one and takes no other.
func (m *modbusServer) enter(c net.Conn) bool {
	m.conns.Add(1)
	if f := m.server.fault.Load(); f != nil && f.Kind == Single && m.conns.Load() > 1 {
		return false
	}
	return true
}

func (m *modbusServer) leave(net.Conn) { m.conns.Add(-1) }

// patience sets how long a connection may be quiet.
func (c *modbusConn) patience(conn net.Conn) {
	if f := c.server.fault.Load(); f != nil && f.Kind == Idle {
		_ = conn.SetReadDeadline(time.Now().Add(f.Delay)) // fails only when closed; so does the read
	}
}
