package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	defaultRingBytes = 16 << 20
	// nodeBytes is what a frame costs beside its data.
	nodeBytes = 160
	// maxFree bounds the buffers kept for reuse.
	maxFree = 32
	// worthMessage is how many bytes the reader is woken for at once. Fewer wait for
	// the end of their slot: a wake-up costs more than what it carries.
	worthMessage = 64 << 10
	// maxUnsure bounds the memory of dropped frames that may have been stored.
	maxUnsure = 4096
)

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
	encode  func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte
	max     int
	started time.Time

	order   sync.Mutex // held while a sequence is given out and its frame is linked; taken before mu
	scratch []byte

	mu         sync.Mutex
	head, tail *node
	read       *node  // the next to hand out; nil: all were
	handed     uint64 // the last sequence handed out since Attach
	sent       uint64 // the highest ever handed out
	next       uint64
	acked      uint64
	unsure     []unsure
	own        map[lossPlace]*node // the last gap of each place in which a driver lost something itself
	free       [][]byte
	waiting    int // bytes pushed since the reader was last told
	samples    uint64
	dropped    uint64
	room       chan struct{} // closed, and replaced, when there is room again

	bytes  atomic.Int64
	slowed atomic.Uint64
	losses atomic.Uint64 // gaps handed out
	notify chan struct{}
	onRoom func() // set once, before use
	spill  *spill // the part on disk; nil: none

	acks              atomic.Uint64
	releasing         atomic.Int64 // Acks whose callbacks run
	seen, seenRelease sighting     // the watchdog's
}

type node struct {
	prev, next *node
	seq        uint64
	data       []byte
	size       int
	samples    int
	from, to   int64
	droppable  bool
	receipts   []*receipt
	batch      *frame.Batch
	gap        *frame.Gap
	told       bool // the gap was handed out as it is, or is on its way to disk
	moving     bool // on its way to disk
}

// A receipt counts the frames that hold samples of one emit.
type receipt struct {
	left   atomic.Int32
	lost   atomic.Bool
	stored func()
}

func (c *receipt) release() {
	if c.left.Add(-1) == 0 && !c.lost.Load() {
		c.stored()
	}
}

func newRing(maxBytes int, encode func([]byte, uint64, *frame.Batch, *frame.Gap) []byte) *Ring {
	if maxBytes <= 0 {
		maxBytes = defaultRingBytes
	}
	return &Ring{
		encode: encode, max: maxBytes, next: 1, started: time.Now(),
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
	r.read = r.head
	r.handed = r.acked
	if c := r.spill.after(r.acked); c != nil {
		r.spill.cursor.chunk = nil
		r.wakeReader()
		return max(c.first, r.acked+1)
	}
	if r.head == nil {
		return r.next
	}
	r.wakeReader()
	return r.head.seq
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
	n := r.read
	if n == nil {
		return frame.Frame{}, false
	}
	r.read = n.next
	r.handed = n.seq
	r.sent = max(r.sent, n.seq)
	if n.gap != nil {
		n.told = true
		r.tell(n.gap.FirstSeq, n.gap.LastSeq)
		r.losses.Add(1)
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
	receipts, room := r.ack(min(sequence, r.sent))
	r.mu.Unlock()
	if len(receipts) > 0 {
		r.releasing.Add(1)
		for _, c := range receipts {
			c.release()
		}
		r.releasing.Add(-1)
		r.acks.Add(1)
	}
	if room && r.onRoom != nil {
		r.onRoom()
	}
}

func (r *Ring) ack(sequence uint64) (receipts []*receipt, room bool) {
	if sequence <= r.acked {
		return nil, false
	}
	wasFull := r.full()
	r.acked = sequence
	r.settleUnsure(sequence)
	receipts = r.spill.ack(sequence)
	for n := r.head; n != nil && n.seq <= sequence; n = r.head {
		receipts = append(receipts, n.receipts...)
		if len(r.free) < maxFree && n.data != nil && n.gap == nil && !n.moving {
			r.free = append(r.free, n.data[:0])
		}
		r.unlink(n)
	}
	if room = wasFull && !r.full(); room {
		close(r.room)
		r.room = make(chan struct{})
	}
	return receipts, room
}

func (r *Ring) unlink(n *node) {
	if r.read == n {
		r.read = n.next
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		r.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		r.tail = n.prev
	}
	r.bytes.Add(-int64(n.size))
}

// full tells whether a class that can wait must. It needs no lock.
func (r *Ring) full() bool { return r.bytes.Load() >= int64(r.max) }

// waitRoom waits until the ring is not full, or one of the contexts is done.
func (r *Ring) waitRoom(ctx, session context.Context) error {
	for r.full() {
		r.mu.Lock()
		room := r.room
		r.mu.Unlock()
		if !r.full() {
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

// push makes a frame of a batch, whose slices are the caller's again afterwards.
// The reader is told when it has something worth a message; show tells it of the
// rest.
func (r *Ring) push(b *builder, droppable bool) {
	r.order.Lock()
	defer r.order.Unlock()
	n := &node{samples: b.samples, droppable: droppable, receipts: b.receipts}
	n.from, n.to = b.span()
	b.batch.Patient = len(b.receipts) == 0
	r.mu.Lock()
	n.seq = r.next
	r.mu.Unlock()
	if r.encode != nil {
		r.scratch = r.encode(r.scratch[:0], n.seq, &b.batch, nil)
		n.size = nodeBytes + len(r.scratch)
	} else {
		n.batch = b.batch.Clone()
		n.size = nodeBytes + b.bytes
	}
	if droppable {
		r.awaitSpill(n.size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples += uint64(n.samples)
	if droppable && !r.makeRoom(n.size) {
		r.lose(uint64(n.samples), n.from, n.to)
		for _, c := range n.receipts {
			c.lost.Store(true)
		}
		return
	}
	if r.encode != nil {
		n.data = append(r.buffer(len(r.scratch)), r.scratch...)
		n.size = nodeBytes + cap(n.data)
	}
	r.append(n)
	if r.waiting += n.size; r.waiting >= worthMessage {
		r.wakeReader()
	}
}

// show tells the reader of whatever it has not taken.
func (r *Ring) show() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read != nil || r.spill.after(r.handed) != nil {
		r.wakeReader()
	}
}

// append links n as the newest frame, under order and mu.
func (r *Ring) append(n *node) {
	n.seq = r.next
	r.next++
	n.prev = r.tail
	if r.tail != nil {
		r.tail.next = n
	} else {
		r.head = n
	}
	r.tail = n
	r.bytes.Add(int64(n.size))
	if r.read == nil {
		r.read = n
	}
	r.spill.urge(r)
}

func (r *Ring) wakeReader() {
	r.waiting = 0
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

// buffer takes a free buffer that fits size without waste, or makes one.
func (r *Ring) buffer(size int) []byte {
	for i := len(r.free) - 1; i >= 0; i-- {
		if c := cap(r.free[i]); c >= size && c <= 2*size+256 {
			b := r.free[i]
			last := len(r.free) - 1
			r.free[i], r.free[last] = r.free[last], nil
			r.free = r.free[:last]
			return b
		}
	}
	if len(r.free) == maxFree { // none fits any longer what is sent now
		r.free = append(r.free[:0:0], r.free[1:]...)
	}
	return make([]byte, 0, size)
}

// settle lets receipts of emits that left nothing to store wait for the newest frame.
func (r *Ring) settle(receipts []*receipt) {
	r.mu.Lock()
	waits := r.tail != nil
	if waits {
		r.tail.receipts = append(r.tail.receipts, receipts...)
	} else {
		waits = r.spill.settle(receipts)
	}
	r.mu.Unlock()
	if waits {
		return
	}
	for _, c := range receipts {
		c.release()
	}
}

// Status is how much the ring holds, and has held.
func (r *Ring) Status() control.RingStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := control.RingStatus{
		NextSequence: r.next, AckedSequence: r.acked,
		Bytes: uint64(max(0, r.bytes.Load())), MaxBytes: uint64(r.max),
		Samples: r.samples, Dropped: r.dropped, Slowed: r.slowed.Load(),
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
