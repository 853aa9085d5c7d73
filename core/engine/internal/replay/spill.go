package replay

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	// spillFailed is how long nothing is written after the disk refused.
	spillFailed = 10 * time.Second
	// spillWait is how long a frame waits for the disk before the policy decides.
	spillWait = 100 * time.Millisecond
	// maxSpillReceipts bounds the callbacks of frames that are on disk.
	maxSpillReceipts = 1 << 16
)

// A spill is the older part of a ring, on disk: when the memory is three quarters
// full, one goroutine moves the oldest frames into files until half of it is
// free, so that no poll waits for the disk. All frames on disk are older than
// all in memory. The ring's mu guards it, but for what is the mover's or the reader's.
type spill struct {
	files *spillFiles
	log   *slog.Logger
	began time.Time
	chunk int // how many bytes are moved at a time

	chunks   []*chunk // oldest first
	receipts []spilledReceipts
	held     int // receipts in receipts
	retryAt  time.Time
	late     bool          // the disk did not keep up lately: wait for it no more
	filled   bool          // the next frame does not fit into the files
	moved    chan struct{} // closed, and replaced, after every move, and where none is to be made
	buf      []byte        // the mover's

	cursor cursor // the reader's

	work, stop, ended chan struct{}
}

// spilledReceipts are those of a frame that is on disk.
type spilledReceipts struct {
	seq      uint64
	receipts []*Receipt
}

// SpillTo adds a part on disk of at most limit bytes, in files of a directory that are
// named after an epoch, if there is an Encode. It is called before anything else;
// CloseSpill must follow.
func (r *Ring) SpillTo(dir string, limit int64, epoch uint64, log *slog.Logger) {
	if dir == "" || limit <= 0 || r.encode == nil {
		return
	}
	files := newSpillFiles(dir, limit, epoch)
	r.spill = &spill{
		files: files, log: log, chunk: int(min(files.segment, maxChunk)), moved: make(chan struct{}),
		began: time.Now(), work: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go r.spill.run(r)
}

// CloseSpill ends the mover and removes the files, with whatever is in them. A disk
// that hangs is left behind when ctx ends.
func (r *Ring) CloseSpill(ctx context.Context) {
	if r.spill == nil {
		return
	}
	close(r.spill.stop)
	select {
	case <-r.spill.ended:
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spill.forget(math.MaxUint64)
}

func (s *spill) run(r *Ring) {
	defer close(s.ended)
	for {
		select {
		case <-s.stop:
			return
		case <-s.work:
		}
		for r.moveSome() {
			select {
			case <-s.stop:
				return
			default:
			}
		}
	}
}

// urge has frames moved, if there are enough. It is called under mu.
func (s *spill) urge(m *memory) {
	if s != nil && m.bytes.Load() >= int64(m.max)/4*3 {
		s.nudge()
	}
}

func (s *spill) nudge() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// able reports whether the disk can take more. It is called under mu.
func (s *spill) able() bool {
	return s != nil && s.held < maxSpillReceipts && !s.filled && !time.Now().Before(s.retryAt)
}

// awaitSpill lets a frame of size wait until there is room for it in memory, as
// long as the disk keeps up. It is called under order.
func (r *Ring) awaitSpill(size int) {
	s := r.spill
	if s == nil {
		return
	}
	var timer *time.Timer
	for {
		r.mu.Lock()
		has := r.mem.bytes.Load()
		waits := has > int64(r.mem.max)/2 && has+int64(size) > int64(r.mem.max) && s.able() && !s.late
		moved := s.moved
		r.mu.Unlock()
		if !waits {
			return
		}
		s.nudge()
		if timer == nil {
			timer = time.NewTimer(spillWait)
			defer timer.Stop()
		}
		select {
		case <-moved:
		case <-timer.C:
			r.mu.Lock()
			s.late = true
			r.mu.Unlock()
			return
		}
	}
}

// moveSome moves a chunk of the oldest frames to disk, and reports whether it should be called
// again.
func (r *Ring) moveSome() (again bool) {
	s := r.spill
	r.mu.Lock()
	nodes, c := s.take(&r.mem, r.encode)
	if len(nodes) == 0 {
		s.tell()
	}
	r.mu.Unlock()
	if len(nodes) == 0 {
		return false
	}
	s.buf = s.buf[:0]
	for _, n := range nodes {
		s.buf = appendRecord(s.buf, n)
	}
	err := s.files.write(c, s.buf)
	if cap(s.buf) > 2*maxChunk {
		s.buf = nil
	}
	r.mu.Lock()
	wasFull := r.Full()
	if err != nil {
		s.giveBack(nodes)
	} else {
		s.commit(&r.mem, nodes, c)
	}
	room := r.freed(wasFull)
	s.tell()
	again = err == nil && r.mem.bytes.Load() > int64(r.mem.max)/2
	r.mu.Unlock()
	if err != nil {
		s.log.Error("frames cannot be moved to disk and stay in memory, where the scan class's policy bounds them", "err", err)
	}
	if room && r.onRoom != nil {
		r.onRoom()
	}
	return again
}

// tell wakes who waits for a move.
func (s *spill) tell() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// nextSpilled hands out the first frame on disk after the last one handed out; not
// ok: there is none. It is called with mu held, and without it in between.
func (r *Ring) nextSpilled() (f frame.Frame, ok bool) {
	for {
		after := max(r.mem.handed, r.mem.acked)
		c := r.spill.after(after)
		if c == nil {
			return frame.Frame{}, false
		}
		cur := &r.spill.cursor
		if cur.chunk != c {
			r.mu.Unlock()
			cur.load(c)
			r.mu.Lock()
			if r.mem.acked > after { // acknowledged meanwhile, and perhaps the file is gone
				cur.chunk = nil
				continue
			}
		}
		rec, ok := cur.next(after)
		if ok && rec.data != nil {
			f = frame.Frame{Sequence: rec.seq, Data: append([]byte(nil), rec.data...), Samples: int(rec.samples)}
		} else {
			g, uncounted := r.spill.damaged(c, rec, ok, after)
			r.mem.dropped += uncounted
			rec.gap = true
			f = frame.Frame{Sequence: g.LastSeq, Data: r.encode(nil, g.LastSeq, nil, g)}
		}
		r.mem.hand(f.Sequence)
		if rec.gap {
			r.mem.unsure.tell(f.Sequence, f.Sequence)
			r.gaps.Add(1)
			f.Samples = 0
		}
		return f, true
	}
}

// take marks the oldest frames of memory as being moved, about a chunk of them.
func (s *spill) take(m *memory, encode Encode) ([]*node, *chunk) {
	if !s.able() || m.bytes.Load() <= int64(m.max)/2 {
		return nil, nil
	}
	var nodes []*node
	c := &chunk{}
	room := s.files.room()
	for n, size := m.head, 0; n != nil && size < s.chunk; n = n.next {
		if n.gap != nil {
			n = m.splitUnsure(n)
			n.told = true // it grows no more
			if n.data == nil {
				n.data = encode(nil, n.seq, nil, n.gap)
			}
		}
		size += recordHeader + len(n.data)
		if int64(size) > room {
			s.filled = len(nodes) == 0
			break
		}
		n.moving = true
		nodes = append(nodes, n)
		c.add(n)
	}
	s.files.writing = len(nodes) > 0
	return nodes, c
}

// giveBack leaves frames in memory that the disk refused.
func (s *spill) giveBack(nodes []*node) {
	s.files.writing = false
	s.retryAt = time.Now().Add(spillFailed)
	if s.files.current != nil {
		s.files.free(s.files.current)
	}
	for _, n := range nodes {
		n.moving = false
	}
}

// commit takes frames that are on disk now out of memory, but for those that were
// acknowledged meanwhile.
func (s *spill) commit(m *memory, nodes []*node, c *chunk) {
	s.files.writing = false
	s.late = false
	s.files.commit(c)
	s.chunks = append(s.chunks, c)
	for _, n := range nodes {
		if n.seq <= m.acked {
			continue
		}
		if len(n.receipts) > 0 {
			s.receipts = append(s.receipts, spilledReceipts{n.seq, n.receipts})
			s.held += len(n.receipts)
		}
		// Whoever was given the frame may still have its bytes.
		if n.seq > m.sent && n.gap == nil {
			m.reuse(n.data)
		}
		m.unlink(n)
	}
	s.forget(m.acked)
}

// ack frees what is on disk up to a sequence. It is called under mu.
func (s *spill) ack(sequence uint64) (receipts []*Receipt) {
	if s == nil {
		return nil
	}
	for len(s.receipts) > 0 && s.receipts[0].seq <= sequence {
		receipts = append(receipts, s.receipts[0].receipts...)
		s.held -= len(s.receipts[0].receipts)
		s.receipts = s.receipts[1:]
	}
	s.forget(sequence)
	return receipts
}

func (s *spill) forget(sequence uint64) {
	for len(s.chunks) > 0 && s.chunks[0].last <= sequence {
		s.files.release(s.chunks[0])
		s.filled = false
		s.chunks = s.chunks[1:]
	}
}

// settle lets receipts wait for the newest frame on disk, if there is one.
func (s *spill) settle(receipts []*Receipt) bool {
	if s == nil || len(s.chunks) == 0 {
		return false
	}
	s.receipts = append(s.receipts, spilledReceipts{s.chunks[len(s.chunks)-1].last, receipts})
	s.held += len(receipts)
	return true
}

// after finds the chunk with the first frame after a sequence, nil where there is
// none on disk.
func (s *spill) after(sequence uint64) *chunk {
	if s == nil {
		return nil
	}
	for _, c := range s.chunks {
		if c.last > sequence {
			return c
		}
	}
	return nil
}
