package modbus

import (
	"encoding/binary"
	"time"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Memory is one device's: a layout, and what was written over it. It takes no space until
// something is written. It is not safe for concurrent use.
type Memory struct {
	layout  *Layout
	written [tables][]uint16 // from the table's base on; nil before the first write
	held    []bool           // by point: the written value stands, the signal does not count any more
	files   map[[2]uint16]uint16
}

// NewMemory returns the memory of a device as it is delivered.
func NewMemory(l *Layout) *Memory { return &Memory{layout: l} }

// Instant is when, and by whom, a memory is asked.
type Instant struct {
	Elapsed time.Duration // for the signals
	Seed    uint64        // of the device, for the signals
	Slot    uint64        // what the slot point reads now
}

// Layout returns the memory's layout.
func (m *Memory) Layout() *Layout { return m.layout }

// value returns the value of a point that is not held.
func (m *Memory) value(i int, at Instant) signal.Value {
	if i == m.layout.slot {
		return signal.Uint(at.Slot)
	}
	if s := m.layout.points[i].Signal; s != nil {
		return s.At(at.Elapsed, at.Seed)
	}
	return signal.Value{}
}

func (m *Memory) holds(i int) bool { return m.held != nil && m.held[i] }

// registers fills out with n registers, two bytes each. The block has been found legal.
func (m *Memory) registers(out []byte, t Table, start, n int, at Instant) {
	if words := m.written[t]; words != nil {
		for i, w := range words[start-m.layout.tables[t].base:][:n] {
			binary.BigEndian.PutUint16(out[2*i:], w)
		}
	} else {
		clear(out)
	}
	last := m.layout.tables[t].last
	for i := m.layout.from(t, start); i < last && int(m.layout.points[i].Address) < start+n; i++ {
		if m.holds(i) {
			continue
		}
		m.overlay(out, i, start, n, at)
	}
}

// overlay puts the part of a point that lies in the block into out.
func (m *Memory) overlay(out []byte, i, start, n int, at Instant) {
	p := &m.layout.points[i]
	from, words := int(p.Address)-start, p.words()
	if from >= 0 && from+words <= n {
		encode(out[2*from:2*(from+words)], p, m.value(i, at))
		return
	}
	whole := make([]byte, 2*words)
	encode(whole, p, m.value(i, at))
	if from < 0 {
		copy(out, whole[-2*from:])
	} else {
		copy(out[2*from:], whole)
	}
}

// bit returns one coil or discrete input, and the index of the next point to look at.
func (m *Memory) bit(t Table, address, next int, at Instant) (bool, int) {
	tb := &m.layout.tables[t]
	if next < tb.last && int(m.layout.points[next].Address) == address {
		if !m.holds(next) {
			return m.value(next, at).Bool(), next + 1
		}
		next++
	}
	words := m.written[t]
	return words != nil && words[address-tb.base] != 0, next
}

// writable reports whether every point in the block may be written. Addresses without a point
// are plain memory.
func (m *Memory) writable(t Table, start, n int) bool {
	last := m.layout.tables[t].last
	for i := m.layout.from(t, start); i < last && int(m.layout.points[i].Address) < start+n; i++ {
		if !m.layout.points[i].Writable {
			return false
		}
	}
	return true
}

// words returns n words of a table to be written. The points that lie there keep what they read
// now, and follow their signals no longer.
func (m *Memory) words(t Table, start, n int, at Instant) []uint16 {
	tb := &m.layout.tables[t]
	if m.written[t] == nil {
		m.written[t] = make([]uint16, tb.size)
	}
	for i := m.layout.from(t, start); i < tb.last && int(m.layout.points[i].Address) < start+n; i++ {
		m.hold(i, at)
	}
	return m.written[t][start-tb.base:][:n]
}

// hold writes what a point reads now into memory.
func (m *Memory) hold(i int, at Instant) {
	if m.holds(i) {
		return
	}
	if m.held == nil {
		m.held = make([]bool, len(m.layout.points))
	}
	m.put(i, m.value(i, at))
	m.held[i] = true
}

func (m *Memory) put(i int, v signal.Value) {
	p := &m.layout.points[i]
	words := m.written[p.Table][int(p.Address)-m.layout.tables[p.Table].base:]
	if p.Table.bits() {
		words[0] = 0
		if v.Bool() {
			words[0] = 1
		}
		return
	}
	b := make([]byte, 2*p.words())
	encode(b, p, v)
	for k := range len(b) / 2 {
		words[k] = binary.BigEndian.Uint16(b[2*k:])
	}
}

// Set puts a value at a point, whether or not a client may. The point's signal does not count
// any more.
func (m *Memory) Set(point int, v signal.Value, at Instant) {
	p := &m.layout.points[point]
	m.words(p.Table, int(p.Address), p.words(), at)
	m.put(point, v)
}

// Get returns what a client would read at a point.
func (m *Memory) Get(point int, at Instant) signal.Value {
	p := &m.layout.points[point]
	if p.Table.bits() {
		on, _ := m.bit(p.Table, int(p.Address), point, at)
		return signal.Bool(on)
	}
	b := make([]byte, 2*p.words())
	m.registers(b, p.Table, int(p.Address), p.words(), at)
	return decode(b, p)
}

// covers reports whether a block has the whole slot in it.
func (l *Layout) coversSlot(t Table, start, n int) bool {
	if l.slot < 0 {
		return false
	}
	p := &l.points[l.slot]
	return p.Table == t && start <= int(p.Address) && int(p.Address)+p.words() <= start+n
}
