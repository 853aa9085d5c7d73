package simulator

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

const (
	readBuffer = 1024 // holds a burst of pipelined reads
	flushSize  = 4096 // answers gathered before they are written although requests are left
)

// modbusConn is one client's connection. One goroutine owns it.
type modbusConn struct {
	*modbusServer
	net     net.Conn
	out     []byte   // answers that are not written yet
	pending []answer // what they are
	dead    bool     // closed, or to be closed
}

// answer is one answer in a buffer.
type answer struct {
	device *Device
	slot   uint64 // 0 when it has none
	asked  time.Time
	size   int
}

// serve answers requests until the connection ends. Requests that stand in the buffer together
// are answered in one write, in their order.
func (m *modbusServer) serve(c net.Conn) {
	conn := &modbusConn{modbusServer: m, net: c}
	buf := make([]byte, readBuffer)
	filled := 0
	for !conn.dead {
		n, err := c.Read(buf[filled:])
		filled += n
		used := conn.answerAll(buf[:filled], time.Now())
		filled = copy(buf, buf[used:filled])
		if err != nil {
			return
		}
	}
}

// answerAll answers every whole request in buf and returns how many bytes they took.
func (c *modbusConn) answerAll(buf []byte, now time.Time) int {
	used, requests := 0, uint64(0)
	for !c.dead {
		f, n, err := modbus.Next(buf[used:])
		if err != nil {
			c.stray.Add(1)
			c.flush()
			c.dead = true
			break
		}
		if n == 0 {
			break
		}
		used += n
		requests++
		c.answer(f, n, now)
		if len(c.out) >= flushSize {
			c.flush()
		}
	}
	c.flush()
	for most := c.atOnce.Load(); requests > most && !c.atOnce.CompareAndSwap(most, requests); {
		most = c.atOnce.Load()
	}
	return used
}

func (c *modbusConn) answer(f modbus.Frame, size int, now time.Time) {
	if f.Protocol != 0 {
		c.stray.Add(1)
		return
	}
	d := c.units[f.Unit]
	if d == nil {
		c.stray.Add(1)
		start := len(c.out)
		c.out = modbus.BeginAnswer(c.out, f.Transaction, f.Unit)
		c.out = modbus.AppendException(c.out, f.PDU[0], modbus.GatewayTarget)
		modbus.EndAnswer(c.out, start)
		return
	}
	fault := d.current()
	if fault == nil {
		c.pending = append(c.pending, d.answer(&c.out, f, size, now, nil))
		return
	}
	c.flush()
	c.faulty(d, f, size, now, fault)
}

// answer executes a request and appends the answer's whole frame to out.
func (d *Device) answer(out *[]byte, f modbus.Frame, size int, now time.Time, fault *Fault) answer {
	start := len(*out)
	*out = modbus.BeginAnswer(*out, f.Transaction, f.Unit)
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &d.tally
	t.requests++
	t.bytesIn += uint64(size)
	t.function(f.PDU[0])
	a := answer{device: d, asked: now}
	if fault != nil && fault.Kind == Exception {
		*out = modbus.AppendException(*out, f.PDU[0], fault.Code)
		t.exception(fault.Code)
	} else {
		at := modbus.Instant{Elapsed: d.elapsed(now), Seed: d.seed, Slot: t.issued + 1}
		var res modbus.Result
		*out, res = d.store.(*registers).Serve(*out, f.PDU, at, t.issued)
		d.note(&res, now)
		if res.Slot && !fault.spoils() {
			a.slot = t.issue()
		}
	}
	modbus.EndAnswer(*out, start)
	a.size = len(*out) - start
	return a
}

// note counts what became of a request. The mutex is held.
func (d *Device) note(res *modbus.Result, now time.Time) {
	if res.Exception != 0 {
		d.tally.exception(res.Exception)
	}
	if !res.Written {
		return
	}
	w := Write{Time: now, Table: res.Table.String(), Address: res.Start, Words: res.Values}
	layout := d.store.(*registers).Layout()
	if i, ok := layout.At(res.Table, res.Start); ok {
		w.Point = layout.Points()[i].Name
		w.Value = d.store.get(i, d.moment()).Any()
	} else {
		w.Value = signal.Uint(uint64(res.Values[0])).Any()
	}
	d.tally.wrote(w)
}

// flush counts the answers and writes them. They are counted first, so that whoever has seen an
// answer finds it counted, and taken back when the kernel did not take them to the last byte.
func (c *modbusConn) flush() {
	if len(c.out) == 0 {
		return
	}
	if !c.dead {
		c.count()
		if _, err := c.net.Write(c.out); err != nil {
			c.dead = true
			c.uncount()
		}
	} else {
		c.withdraw()
	}
	c.out, c.pending = c.out[:0], c.pending[:0]
}

func (c *modbusConn) count() {
	for i := range c.pending {
		a := &c.pending[i]
		a.device.sent(a.slot, a.asked, a.size)
	}
}

// uncount takes the answers back, the last first: a slot value that no other answer has passed
// is given out again.
func (c *modbusConn) uncount() {
	for i := len(c.pending) - 1; i >= 0; i-- {
		c.pending[i].device.unsent(c.pending[i].slot)
	}
}

func (c *modbusConn) withdraw() {
	for i := len(c.pending) - 1; i >= 0; i-- {
		c.pending[i].device.failed(c.pending[i].slot)
	}
}

// faulty answers a request under a fault. Nothing else is pending.
func (c *modbusConn) faulty(d *Device, f modbus.Frame, size int, now time.Time, fault *Fault) {
	if fault.Kind == Silent {
		d.ignore(f, size)
		return
	}
	c.pending = append(c.pending, d.answer(&c.out, f, size, now, fault))
	switch fault.Kind {
	case Slow:
		c.wait(fault.Delay)
	case Drip:
		c.drip(fault.Delay)
		return
	case Garbage:
		noise(c.out, uint64(now.UnixNano()))
	case Cut, Half:
		c.out = c.out[:len(c.out)/2]
		c.pending[0].size = len(c.out)
	case Unit:
		c.out[6]++
	case Transaction:
		binary.BigEndian.PutUint16(c.out, f.Transaction+1)
	}
	c.flush()
	if fault.Kind == Cut {
		c.dead = true
	}
}

// ignore counts a request that gets no answer.
func (d *Device) ignore(f modbus.Frame, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.requests++
	d.tally.bytesIn += uint64(size)
	d.tally.function(f.PDU[0])
}

// wait lets time pass, or the end of the server, which makes the connection dead.
func (c *modbusConn) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
		c.dead = true
	}
}

// drip writes what is pending a byte at a time; it is counted with the last.
func (c *modbusConn) drip(delay time.Duration) {
	last := len(c.out) - 1
	for i := range last {
		if _, err := c.net.Write(c.out[i : i+1]); err != nil {
			c.dead = true
		}
		c.wait(delay)
		if c.dead {
			break
		}
	}
	c.out = c.out[last:]
	c.flush()
}
