package simulator

import (
	"io"
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
	net     io.Writer
	began   time.Time
	out     []byte   // answers that are not written yet
	pending []answer // what they are
	last    time.Time
	dead    bool // closed, or to be closed
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
	conn := &modbusConn{modbusServer: m, net: c, began: time.Now()}
	defer m.leave(c)
	if !m.enter(c) {
		return
	}
	buf := make([]byte, readBuffer)
	filled := 0
	for !conn.dead {
		conn.patience(c)
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
		f, n, err := c.form.next(buf[used:])
		if err != nil {
			c.stray.Add(1)
			c.flush()
			c.dead = true
			break
		}
		if n == 0 {
			break
		}
		frame := buf[used : used+n]
		used += n
		if len(f.PDU) == 0 {
			c.stray.Add(1)
			continue
		}
		requests++
		c.answer(f, frame, now)
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

func (c *modbusConn) answer(f modbus.Frame, frame []byte, now time.Time) {
	if f.Protocol != 0 {
		c.stray.Add(1)
		return
	}
	if f.Unit == 0 && c.form.bus() {
		c.broadcast(f, len(frame), now)
		return
	}
	d := c.units[f.Unit]
	if d == nil {
		c.stray.Add(1)
		if c.form.bus() {
			return
		}
		start := len(c.out)
		c.out = c.form.begin(c.out, f)
		c.out = modbus.AppendException(c.out, f.PDU[0], modbus.GatewayTarget)
		c.out = c.form.end(c.out, start)
		return
	}
	fault := d.faultFor(f.PDU)
	if fault == nil {
		c.pending = append(c.pending, c.serveTo(&c.out, d, f, len(frame), now, nil))
		return
	}
	c.flush()
	c.faulty(d, f, frame, now, fault)
}

// broadcast has every device execute a request, and none answer.
func (c *modbusConn) broadcast(f modbus.Frame, size int, now time.Time) {
	var told *Device
	for _, d := range c.units {
		if d == nil || d == told {
			continue
		}
		told = d
		if fault := d.current(); fault != nil && fault.Kind == Silent {
			d.ignore(f, size)
			continue
		}
		var nobody []byte
		a := c.serveTo(&nobody, d, f, size, now, &Fault{Kind: Silent})
		d.failed(a.slot)
	}
}

// serveTo executes a request and appends the answer's whole frame to out.
func (m *modbusServer) serveTo(out *[]byte, d *Device, f modbus.Frame, size int, now time.Time, fault *Fault) answer {
	start := len(*out)
	shown := f
	fault.readdress(&shown)
	*out = m.form.begin(*out, shown)
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &d.tally
	t.requests++
	t.bytesIn += uint64(size)
	t.function(f.PDU[0])
	a := answer{device: d, asked: now}
	if code := fault.refuses(); code != 0 {
		*out = modbus.AppendException(*out, f.PDU[0], code)
		t.exception(code)
	} else {
		at := modbus.Instant{Elapsed: d.elapsed(now), Seed: d.seed, Slot: t.issued + 1}
		if fault != nil {
			at.Elapsed = fault.clock(at.Elapsed, d.faultSince())
			if fault.Kind == Frozen {
				at.Slot = t.issued
			}
		}
		var res modbus.Result
		*out, res = d.store.(*registers).Serve(*out, f.PDU, at, t.issued)
		d.note(&res, now)
		if res.Slot && !fault.spoils() {
			a.slot = t.issue()
		}
	}
	*out = m.form.end(*out, start)
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
		c.last = time.Now()
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
