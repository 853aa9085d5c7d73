// Package replay keeps the frames of one driver process until the core has stored them: in
// memory, and on disk where there is a directory for it.
//
// A Ring is what its users see. It owns the lock, gives out the sequences and wakes the
// consumer. Behind it are memory, the newer frames as a list with what is dropped when it
// is full, and spill, the older ones in files, with the goroutine that moves them there.
// Both are guarded by the ring's lock, which is never held while a file is read or written.
package replay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	defaultBytes = 16 << 20
	// worthMessage is how many bytes the reader is woken for at once. Fewer wait for
	// the end of their slot: a wake-up costs more than what it carries.
	worthMessage = 64 << 10
)

// Encode appends a frame with one of b and g, the other being nil, to dst. It may be
// called concurrently and must keep neither.
type Encode func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte

// A Ring numbers frames and keeps them until the core acknowledges that they are
// stored. Its size is bounded in bytes. When it is full, frames of classes with
// the policy DropOldest make room, and one gap frame takes the place of each run
// of frames that were dropped, with the sequence of the last of them. So
// the sequences that Next gives always grow, and where one is left out the gap
// that follows says so.
//
// One consumer at a time calls Attach, Next and TryNext; everything else may be
// called concurrently.
type Ring struct {
	encode Encode

	order   sync.Mutex // held while a sequence is given out and its frame is linked; taken before mu
	scratch []byte

	mu      sync.Mutex
	mem     memory          // the frames that are not on disk, and how far the consumer is
	own     map[Place]*node // the last gap of each place in which a driver lost something itself
	waiting int             // bytes pushed since the reader was last woken
	samples uint64
	room    chan struct{} // closed, and replaced, when there is room again

	slowed atomic.Uint64
	gaps   atomic.Uint64 // handed out
	notify chan struct{}
	onRoom func()
	spill  *spill // the part on disk; nil: none

	acks      atomic.Uint64
	releasing atomic.Int64 // Acks whose callbacks run
}

// A Batch is what Push makes a frame of. Everything but the receipts is the caller's again
// afterwards.
type Batch struct {
	Columns   *frame.Batch
	Samples   int
	Bytes     int   // an estimate, for a ring without an Encode
	From, To  int64 // the earliest and the latest time in it, in Unix nanoseconds
	Droppable bool  // its class's policy is DropOldest
	Receipts  []*Receipt
}

// A Place is whose samples were lost; without a device, anybody's of the link.
type Place struct{ Link, Device string }

// New makes a ring of at most so many bytes in memory; 0: 16 MiB. With a nil encode its
// frames keep their batch or gap instead of bytes, and their size is an estimate. onRoom,
// which may be nil, is called without a lock when there is room after there was none.
func New(maxBytes int, encode Encode, onRoom func()) *Ring {
	if maxBytes <= 0 {
		maxBytes = defaultBytes
	}
	return &Ring{
		encode: encode, onRoom: onRoom, mem: memory{max: maxBytes, next: 1},
		notify: make(chan struct{}, 1), room: make(chan struct{}),
	}
}

// Attach begins a new reading: frames up to and including resumeAfter are stored,
// which counts as an Ack, and Next goes on with the first that is not. It
// returns that frame's sequence.
func (r *Ring) Attach(resumeAfter uint64) (next uint64) {
	r.Ack(resumeAfter)
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.mem
	m.read, m.handed = m.head, m.acked
	if c := r.spill.after(m.acked); c != nil {
		r.spill.cursor.chunk = nil
		r.wakeReader()
		return max(c.first, m.acked+1)
	}
	if m.head == nil {
		return m.next
	}
	r.wakeReader()
	return m.head.seq
}

// Next hands out the next frame and waits for one when there is none.
func (r *Ring) Next(ctx context.Context) (frame.Frame, error) {
	for {
		if f, ok := r.TryNext(); ok {
			return f, nil
		}
		select {
		case <-r.notify:
		case <-ctx.Done():
			return frame.Frame{}, ctx.Err()
		}
	}
}

// TryNext is Next without the wait, so that a sender can coalesce frames.
func (r *Ring) TryNext() (frame.Frame, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.nextSpilled(); ok {
		return f, true
	}
	n := r.mem.read
	if n == nil {
		return frame.Frame{}, false
	}
	r.mem.read = n.next
	r.mem.hand(n.seq)
	if n.gap != nil {
		n.told = true
		r.mem.unsure.tell(n.gap.FirstSeq, n.gap.LastSeq)
		r.gaps.Add(1)
		if r.encode != nil && n.data == nil {
			n.data = r.encode(nil, n.seq, nil, n.gap)
		}
	}
	f := frame.Frame{Sequence: n.seq, Data: n.data, Samples: n.samples}
	if r.encode == nil {
		f.Batch, f.Gap = n.batch, n.gap
	}
	return f, true
}

// Ack says that every frame up to and including sequence is stored. It frees
// them and then calls, without a lock, the stored callbacks of their emits. A
// sequence beyond what was ever handed out counts as the last that was.
func (r *Ring) Ack(sequence uint64) {
	r.mu.Lock()
	receipts, room := r.ack(min(sequence, r.mem.sent))
	r.mu.Unlock()
	if len(receipts) > 0 {
		r.releasing.Add(1)
		for _, c := range receipts {
			c.Release()
		}
		r.releasing.Add(-1)
		r.acks.Add(1)
	}
	if room && r.onRoom != nil {
		r.onRoom()
	}
}

func (r *Ring) ack(sequence uint64) (receipts []*Receipt, room bool) {
	if sequence <= r.mem.acked {
		return nil, false
	}
	wasFull := r.Full()
	r.mem.acked = sequence
	r.mem.settleUnsure(sequence)
	receipts = append(r.spill.ack(sequence), r.mem.free(sequence)...)
	return receipts, r.freed(wasFull)
}

// freed lets those go on who wait for room, where there is some now and was none.
func (r *Ring) freed(wasFull bool) bool {
	if !wasFull || r.Full() {
		return false
	}
	close(r.room)
	r.room = make(chan struct{})
	return true
}

// Full reports whether a class that can wait must. It takes no lock.
func (r *Ring) Full() bool { return r.mem.full() }

// WaitRoom waits until the ring is not full, or one of the contexts is done.
func (r *Ring) WaitRoom(ctx, session context.Context) error {
	for r.Full() {
		r.mu.Lock()
		room := r.room
		r.mu.Unlock()
		if !r.Full() {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-session.Done():
			return session.Err()
		}
	}
	return nil
}

// Push makes a frame of a batch. The reader is woken when it has something worth a
// message; Show wakes it for the rest.
func (r *Ring) Push(b *Batch) {
	r.order.Lock()
	defer r.order.Unlock()
	n := &node{samples: b.Samples, droppable: b.Droppable, receipts: b.Receipts, from: b.From, to: b.To}
	b.Columns.Patient = len(b.Receipts) == 0
	r.mu.Lock()
	n.seq = r.mem.next
	r.mu.Unlock()
	if r.encode != nil {
		r.scratch = r.encode(r.scratch[:0], n.seq, b.Columns, nil)
		n.size = nodeBytes + len(r.scratch)
	} else {
		n.batch = b.Columns.Clone()
		n.size = nodeBytes + b.Bytes
	}
	if n.droppable {
		r.awaitSpill(n.size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples += uint64(n.samples)
	if n.droppable && !r.mem.makeRoom(n.size) {
		r.lose(uint64(n.samples), n.from, n.to)
		n.lose()
		return
	}
	if r.encode != nil {
		n.data = append(r.mem.buffer(len(r.scratch)), r.scratch...)
		n.size = nodeBytes + cap(n.data)
	}
	r.append(n)
	if r.waiting += n.size; r.waiting >= worthMessage {
		r.wakeReader()
	}
}

// Show wakes the reader for whatever it has not taken.
func (r *Ring) Show() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem.read != nil || r.spill.after(r.mem.handed) != nil {
		r.wakeReader()
	}
}

// append links n as the newest frame, under order and mu.
func (r *Ring) append(n *node) {
	r.mem.append(n)
	r.spill.urge(&r.mem)
}

func (r *Ring) wakeReader() {
	r.waiting = 0
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

// Settle lets receipts of emits that left nothing to store wait for the newest frame.
func (r *Ring) Settle(receipts []*Receipt) {
	r.mu.Lock()
	waits := r.mem.tail != nil
	if waits {
		r.mem.tail.receipts = append(r.mem.tail.receipts, receipts...)
	} else {
		waits = r.spill.settle(receipts)
	}
	r.mu.Unlock()
	if waits {
		return
	}
	for _, c := range receipts {
		c.Release()
	}
}

// Lost counts samples that never came into a frame, and makes a gap of them.
func (r *Ring) Lost(samples uint64, from, to int64) {
	r.order.Lock()
	defer r.order.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples += samples
	r.lose(samples, from, to)
}

func (r *Ring) lose(samples uint64, from, to int64) {
	r.mem.dropped += samples
	if r.mem.widen(samples, from, to) {
		return
	}
	g := &frame.Gap{Samples: samples, Cause: r.mem.cause()}
	g.Widen(from, to)
	r.append(&node{size: nodeBytes, gap: g})
	r.wakeReader()
}

// LostBy adds a gap of a driver's own, or lets the one before of the same place grow, where
// that was not handed out yet.
func (r *Ring) LostBy(at Place, g *frame.Gap) {
	r.order.Lock()
	defer r.order.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples += g.Samples
	r.mem.dropped += g.Samples
	if n := r.own[at]; n != nil && !n.told && !n.moving {
		n.gap.Join(g)
		return
	}
	n := &node{size: nodeBytes + len(g.Cause.Text), gap: g}
	if r.own == nil {
		r.own = make(map[Place]*node)
	}
	r.own[at] = n
	r.append(n)
	r.wakeReader()
}

// OwesGap reports whether samples were lost of which the gap was not handed out yet.
func (r *Ring) OwesGap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mem.owesGap()
}

// Gaps is how many gaps were handed out.
func (r *Ring) Gaps() uint64 { return r.gaps.Load() }

// Slow counts polls that were left out because the ring is full.
func (r *Ring) Slow(polls int) { r.slowed.Add(uint64(polls)) }

// Activity is what a watchdog looks at: whether the ring's lock is held at the moment, how
// many Acks have called back, and whether one does so now. It takes no lock for longer.
func (r *Ring) Activity() (locked bool, acks uint64, releasing bool) {
	if locked = !r.mu.TryLock(); !locked {
		r.mu.Unlock()
	}
	return locked, r.acks.Load(), r.releasing.Load() > 0
}

// Status is how much the ring holds, and has held.
func (r *Ring) Status() control.RingStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := control.RingStatus{
		NextSequence: r.mem.next, AckedSequence: r.mem.acked,
		Bytes: uint64(max(0, r.mem.bytes.Load())), MaxBytes: uint64(r.mem.max),
		Samples: r.samples, Dropped: r.mem.dropped, Slowed: r.slowed.Load(),
	}
	if r.spill != nil {
		s.SpillBytes, s.MaxSpillBytes = uint64(r.spill.files.bytes), uint64(r.spill.files.max)
	}
	return s
}

// String is for logs and tests.
func (r *Ring) String() string {
	s := r.Status()
	return fmt.Sprintf("ring: next %d, acked %d, %d of %d bytes, %d samples, %d dropped",
		s.NextSequence, s.AckedSequence, s.Bytes, s.MaxBytes, s.Samples, s.Dropped)
}
