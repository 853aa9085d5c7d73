package replay

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	// nodeBytes is what a frame costs beside its data.
	nodeBytes = 160
	// maxSpare bounds the buffers kept for reuse.
	maxSpare = 32
	// maxUnsure bounds the memory of dropped frames that may have been stored.
	maxUnsure = 4096
)

// A memory is the frames of a ring that are not on disk, oldest first, and how far the
// consumer is in the sequences of all. It decides what is dropped when it is full. The
// ring's mu guards it, but for bytes.
type memory struct {
	max        int
	bytes      atomic.Int64
	head, tail *node
	read       *node  // the next to hand out; nil: all were
	next       uint64 // the sequence of the next frame
	handed     uint64 // the last sequence handed out since Attach
	sent       uint64 // the highest ever handed out
	acked      uint64
	unsure     doubts
	dropped    uint64 // samples
	spare      [][]byte
}

// A node is one frame in memory.
type node struct {
	prev, next *node
	seq        uint64
	data       []byte
	size       int
	samples    int
	from, to   int64
	droppable  bool
	receipts   []*Receipt
	batch      *frame.Batch
	gap        *frame.Gap
	told       bool // the gap was handed out as it is, or is on its way to disk
	moving     bool // on its way to disk
}

// lose has the emits that have samples in the frame not called back.
func (n *node) lose() {
	for _, c := range n.receipts {
		c.Lose()
	}
}

// A Receipt counts the frames that hold samples of one emit, and calls back when the last
// of them is stored. Whoever makes one holds it, until Release.
type Receipt struct {
	left   atomic.Int32
	lost   atomic.Bool
	stored func()
}

// NewReceipt makes a receipt with one hold. stored is called without a lock.
func NewReceipt(stored func()) *Receipt {
	c := &Receipt{stored: stored}
	c.left.Store(1)
	return c
}

// Hold adds a hold.
func (c *Receipt) Hold() { c.left.Add(1) }

// Lose has stored not called: a sample of the emit is lost.
func (c *Receipt) Lose() { c.lost.Store(true) }

// Release takes a hold back. After the last of them stored is called.
func (c *Receipt) Release() {
	if c.left.Add(-1) == 0 && !c.lost.Load() {
		c.stored()
	}
}

// full reports whether there is no room. It takes no lock.
func (m *memory) full() bool { return m.bytes.Load() >= int64(m.max) }

// append gives n the next sequence and links it as the newest frame.
func (m *memory) append(n *node) {
	n.seq = m.next
	m.next++
	n.prev = m.tail
	if m.tail != nil {
		m.tail.next = n
	} else {
		m.head = n
	}
	m.tail = n
	m.bytes.Add(int64(n.size))
	if m.read == nil {
		m.read = n
	}
}

func (m *memory) unlink(n *node) {
	if m.read == n {
		m.read = n.next
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		m.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		m.tail = n.prev
	}
	m.bytes.Add(-int64(n.size))
}

// hand notes that a frame was handed out.
func (m *memory) hand(seq uint64) {
	m.handed = seq
	m.sent = max(m.sent, seq)
}

// free unlinks the frames up to a sequence, and returns their receipts.
func (m *memory) free(sequence uint64) (receipts []*Receipt) {
	for n := m.head; n != nil && n.seq <= sequence; n = m.head {
		receipts = append(receipts, n.receipts...)
		if n.data != nil && n.gap == nil && !n.moving {
			m.reuse(n.data)
		}
		m.unlink(n)
	}
	return receipts
}

// reuse keeps a buffer that nobody has any more.
func (m *memory) reuse(data []byte) {
	if len(m.spare) < maxSpare {
		m.spare = append(m.spare, data[:0])
	}
}

// buffer takes a spare buffer that fits size without waste, or makes one.
func (m *memory) buffer(size int) []byte {
	for i := len(m.spare) - 1; i >= 0; i-- {
		if c := cap(m.spare[i]); c >= size && c <= 2*size+256 {
			b := m.spare[i]
			last := len(m.spare) - 1
			m.spare[i], m.spare[last] = m.spare[last], nil
			m.spare = m.spare[:last]
			return b
		}
	}
	if len(m.spare) == maxSpare { // none fits any longer what is sent now
		m.spare = append(m.spare[:0:0], m.spare[1:]...)
	}
	return make([]byte, 0, size)
}

// makeRoom drops frames, oldest first, until size fits, and reports whether it does.
// Frames that the present consumer was not given yet go first: the others are on
// their way to the core and are most likely stored soon.
func (m *memory) makeRoom(size int) bool {
	fits := func() bool { return m.bytes.Load()+int64(size) <= int64(m.max) }
	for n := m.read; n != nil && !fits(); {
		next := n.next
		if n.droppable && !n.moving {
			m.drop(n)
		}
		n = next
	}
	for n := m.head; n != nil && n != m.read && !fits(); {
		next := n.next
		if n.droppable && !n.moving {
			m.drop(n)
		}
		n = next
	}
	return fits()
}

// drop puts a gap in n's place, or lets the gap before it grow over it. A frame
// that was handed out is dropped in place too: the consumer that has it needs no
// gap, and acknowledges it or goes; the next consumer, which starts from the oldest
// frame not stored, meets the gap.
func (m *memory) drop(n *node) {
	m.dropped += uint64(n.samples)
	n.lose()
	if n.seq <= m.sent && len(m.unsure) < maxUnsure {
		m.unsure = append(m.unsure, unsure{seq: n.seq, samples: uint64(n.samples)})
	}
	if p := n.prev; p != nil && p.grows() && (p.seq > m.handed || n.seq <= m.handed) {
		p.gap.Samples += uint64(n.samples)
		p.gap.LastSeq = n.seq
		p.gap.Widen(n.from, n.to)
		p.seq = n.seq
		m.unlink(n)
		return
	}
	m.bytes.Add(int64(nodeBytes - n.size))
	g := &frame.Gap{Samples: uint64(n.samples), FirstSeq: n.seq, LastSeq: n.seq, Cause: m.cause()}
	g.Widen(n.from, n.to)
	n.gap, n.data, n.batch, n.receipts = g, nil, nil, nil
	n.size, n.samples, n.droppable = nodeBytes, 0, false
}

// grows reports whether n is a gap that a dropped frame after it can join. A gap that was told
// stays as it was told.
func (n *node) grows() bool {
	return n.gap != nil && n.gap.FirstSeq != 0 && !n.told && !n.moving
}

// settleUnsure takes back from the gaps not yet told what turns out to be stored.
func (m *memory) settleUnsure(sequence uint64) {
	keep := m.unsure[:0]
	for _, u := range m.unsure {
		if u.seq > sequence {
			keep = append(keep, u)
			continue
		}
		switch g := m.gapOver(u.seq); {
		case u.told:
		case g == nil || g.told: // on disk, or on its way there: it is passed over, see splitUnsure
			m.dropped -= u.samples
		default:
			g.gap.Samples -= u.samples
			g.gap.FirstSeq = u.seq + 1
			m.dropped -= u.samples
			if g.gap.Samples == 0 {
				m.unlink(g)
			}
		}
	}
	m.unsure = keep
}

// gapOver finds the gap that counts the frame seq.
func (m *memory) gapOver(seq uint64) *node {
	for n := m.head; n != nil; n = n.next {
		if n.gap != nil && n.gap.FirstSeq != 0 && n.gap.FirstSeq <= seq && seq <= n.gap.LastSeq {
			return n
		}
	}
	return nil
}

// splitUnsure makes gaps of their own of the frames in n that had been handed out, before n
// goes to the disk, where it cannot be changed any more: the gap of a frame that turns out
// to be stored has that frame's sequence, and is passed over. It returns the first of them,
// or n.
func (m *memory) splitUnsure(n *node) (first *node) {
	first = n
	if n.told || n.gap.FirstSeq == 0 {
		return first
	}
	for _, u := range m.unsure.within(n.gap.FirstSeq, n.gap.LastSeq) {
		if u.seq != n.gap.FirstSeq || u.samples > n.gap.Samples {
			break
		}
		g := *n.gap
		g.Samples, g.LastSeq = u.samples, u.seq
		own := &node{prev: n.prev, next: n, seq: u.seq, size: nodeBytes, gap: &g}
		if n.prev != nil {
			n.prev.next = own
		} else {
			m.head = own
		}
		n.prev = own
		if first == n {
			first = own
		}
		n.gap.Samples -= u.samples
		n.gap.FirstSeq = u.seq + 1
		m.bytes.Add(nodeBytes)
	}
	if m.read == n {
		m.read = first
	}
	return first
}

// widen lets the gap at the end of the ring, where there is one that was not handed out,
// grow over samples that never came into a frame.
func (m *memory) widen(samples uint64, from, to int64) bool {
	t := m.tail
	if t == nil || t.gap == nil || t.gap.FirstSeq != 0 || t.gap.Links != nil || t.told {
		return false
	}
	t.gap.Samples += samples
	t.gap.Widen(from, to)
	return true
}

// owesGap reports whether samples were lost of which the gap was not handed out yet.
func (m *memory) owesGap() bool {
	if m.dropped == 0 {
		return false
	}
	for n := m.head; n != nil; n = n.next {
		if n.gap != nil && n.seq > m.sent {
			return true
		}
	}
	return false
}

func (m *memory) cause() *driver.Error {
	return driver.Errorf(driver.Lost, "the replay ring of %d bytes was full: the core did not take samples as fast as they came", m.max)
}

// An unsure is a dropped frame that had been handed out: it may have been stored.
type unsure struct {
	seq     uint64
	samples uint64
	told    bool // a gap that counts it was handed out
}

// doubts are the dropped frames that may have been stored.
type doubts []unsure

// tell notes that a gap was handed out that counts the frames first to last.
func (d doubts) tell(first, last uint64) {
	for i := range d {
		if u := &d[i]; first <= u.seq && u.seq <= last {
			u.told = true
		}
	}
}

// within lists those from first up to but not including last, by sequence.
func (d doubts) within(first, last uint64) (within []unsure) {
	for _, u := range d {
		if first <= u.seq && u.seq < last {
			within = append(within, u)
		}
	}
	slices.SortFunc(within, func(a, b unsure) int { return cmp.Compare(a.seq, b.seq) })
	return within
}
