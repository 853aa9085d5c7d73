package engine

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
)

const (
	// maxLinger is how long a sample may wait for others.
	maxLinger = 20 * time.Millisecond
	// minLinger is how old a batch must be before the end of a slot's polls flushes
	// it: the polls of one slot start within microseconds of each other, and the first
	// may have ended before the last has begun.
	minLinger = 5 * time.Millisecond
)

// A batcher gathers the samples of all links. There is one pending batch for each
// policy, so that a frame has one.
type batcher struct {
	ring  *replay.Ring
	clock *clock
	polls atomic.Int64 // in flight

	flushes atomic.Uint64
	seen    sighting // the watchdog's

	mu     sync.Mutex
	pend   [3]*builder
	latest map[uint32]latest
	timer  *time.Timer
	armed  bool
	closed bool

	flushing sync.Mutex // taken before mu is let go, so that flushes keep their order
	spare    *builder
}

// latest is a sample of a class with the policy Latest that waits for room.
type latest struct {
	sample  driver.Sample
	receipt *replay.Receipt
}

// A lot is a set of samples that came together: a poll's, or an emit's.
type lot struct {
	first   uint32   // the handle of the device's first point
	index   []uint32 // of each sample's point
	samples []driver.Sample
	at      int64 // Unix nanoseconds, for samples without a time
	policy  control.Policy
	pushed  bool // not a poll: may share blocks with those before
	receipt *replay.Receipt
}

// newBatcher makes a batcher and the ring behind it.
func newBatcher(ringBytes int, encode replay.Encode, c *clock) *batcher {
	b := &batcher{clock: c, spare: &builder{}, latest: map[uint32]latest{}}
	for i := range b.pend {
		b.pend[i] = &builder{}
	}
	b.timer = time.AfterFunc(math.MaxInt64, b.tick)
	b.timer.Stop()
	b.ring = replay.New(ringBytes, encode, b.roomAgain)
	return b
}

// begin counts a poll in flight; end must follow.
func (b *batcher) begin() { b.polls.Add(1) }

// end counts it as done, and flushes when it was the last of its slot.
func (b *batcher) end(now int64) {
	if b.polls.Add(-1) > 0 {
		return
	}
	flushed := false
	b.mu.Lock()
	for p := range b.pend {
		if w := b.pend[p]; w.samples > 0 && now-w.began >= int64(minLinger) {
			b.flush(p)
			b.mu.Lock()
			flushed = true
		}
	}
	b.mu.Unlock()
	if flushed {
		b.ring.Show()
	}
}

// add takes the samples of a lot that are not suppressed.
func (b *batcher) add(l *lot, now int64) {
	p := int(l.policy)
	b.mu.Lock()
	if l.policy == control.Latest && b.holdLatest(l) {
		b.mu.Unlock()
		return
	}
	for i := 0; i < len(l.samples); {
		w := b.pend[p]
		if w.empty() {
			w.began = now
			b.arm(maxLinger)
		}
		if !l.pushed || !w.pushed {
			w.seal()
		}
		w.pushed = l.pushed
		i += w.take(l, i)
		if w.full() {
			b.flush(p)
			b.mu.Lock()
		}
	}
	b.mu.Unlock()
}

// take appends samples of l from the i-th on until the batch is full, and tells
// how many it went over.
func (b *builder) take(l *lot, i int) (n int) {
	attached := l.receipt == nil
	for i+n < len(l.samples) && !b.full() {
		s := &l.samples[i+n]
		if s.Quality == suppressed {
			n++
			continue
		}
		if !attached {
			l.receipt.Hold()
			b.receipts = append(b.receipts, l.receipt)
			attached = true
		}
		if alike := l.alike(i+n, maxBatchSamples-b.samples); alike > 1 {
			b.addAlike(l.first+l.index[i+n], l.samples[i+n:i+n+alike], l.at)
			n += alike
			continue
		}
		b.add(l.first+l.index[i+n], s, l.at)
		n++
	}
	return n
}

// alike counts the samples from the i-th on, at most limit, that are Good numbers or
// bools of one kind at one time and of consecutive points: most polls are just that.
func (l *lot) alike(i, limit int) int {
	kind := l.samples[i].Value.Kind()
	if kind == driver.KindNull || kind > driver.KindFloat64 {
		return 0
	}
	end := min(len(l.samples), i+limit)
	first := int(l.index[i]) - i
	n := i
	for ; n < end; n++ {
		s := &l.samples[n]
		if s.Quality != driver.Good || int(l.index[n])-n != first || s.Value.Kind() != kind || !s.Time.IsZero() {
			break
		}
	}
	return n - i
}

// holdLatest keeps the samples out of the ring while it is full, each in the
// place of the point's one before. It is called under mu.
func (b *batcher) holdLatest(l *lot) bool {
	if !b.ring.Full() && len(b.latest) == 0 {
		return false
	}
	lost, from, to := uint64(0), int64(math.MaxInt64), int64(math.MinInt64)
	for i, s := range l.samples {
		if s.Quality == suppressed {
			continue
		}
		if s.Time.IsZero() {
			s.Time = time.Unix(0, l.at)
		}
		handle := l.first + l.index[i]
		if old, ok := b.latest[handle]; ok {
			lost++
			from, to = min(from, old.sample.Time.UnixNano()), max(to, old.sample.Time.UnixNano())
			old.drop()
		}
		if l.receipt != nil {
			l.receipt.Hold()
		}
		b.latest[handle] = latest{sample: s, receipt: l.receipt}
	}
	if lost > 0 {
		b.ring.Lost(lost, from, to)
	}
	if !b.ring.Full() {
		b.arm(0)
	}
	return true
}

func (l latest) drop() {
	if l.receipt != nil {
		l.receipt.Lose()
		l.receipt.Release()
	}
}

// roomAgain runs when the ring has room after it had none.
func (b *batcher) roomAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.latest) > 0 {
		b.arm(0)
	}
}

// drainLatest moves what waited for room into batches, as long as there is room, and
// what is forced in any case. It is called under mu, and
// lets it go in between.
func (b *batcher) drainLatest(forced func(handle uint32) bool) {
	handles := make([]uint32, 0, len(b.latest))
	for h := range b.latest {
		handles = append(handles, h)
	}
	slices.Sort(handles)
	for _, h := range handles {
		held, ok := b.latest[h]
		if !ok || b.ring.Full() && !forced(h) {
			continue
		}
		delete(b.latest, h)
		w := b.pend[control.Latest]
		w.add(h, &held.sample, 0)
		if held.receipt != nil {
			w.receipts = append(w.receipts, held.receipt)
		}
		if w.full() {
			b.flush(int(control.Latest))
			b.mu.Lock()
		}
	}
}

// arm makes sure that tick runs within d. It is called under mu.
func (b *batcher) arm(d time.Duration) {
	if (!b.armed || d == 0) && !b.closed {
		b.armed = true
		b.timer.Reset(d)
	}
}

// tick flushes everything, a linger after the first sample that it flushes.
// It is the one wake-up of a slot that the core sees.
func (b *batcher) tick() {
	b.mu.Lock()
	b.armed = false
	if !b.ring.Full() && len(b.latest) > 0 {
		b.drainLatest(func(uint32) bool { return false })
	}
	for p := range b.pend {
		if !b.pend[p].empty() {
			b.flush(p)
			b.mu.Lock()
		}
	}
	b.mu.Unlock()
	b.ring.Show()
}

// flush makes a frame of the pending batch of policy p. It is called under mu and
// returns without it: the batch is encoded while the next one is filled.
func (b *batcher) flush(p int) {
	b.flushing.Lock()
	w := b.pend[p]
	b.pend[p], b.spare = b.spare, nil
	b.mu.Unlock()
	if w.samples > 0 {
		b.ring.Push(w.frame(control.Policy(p) == control.DropOldest))
	} else {
		b.ring.Settle(w.receipts)
	}
	w.reset()
	b.spare = w
	b.flushes.Add(1)
	b.flushing.Unlock()
}

// flushAll flushes everything now, and of what waits for room that of the links;
// without links, all of it. What another flush has in hand is in the ring too when it
// returns.
func (b *batcher) flushAll(links []*link) {
	of := func(uint32) bool { return true }
	if links != nil {
		of = handlesOf(links)
	}
	b.mu.Lock()
	b.drainLatest(of)
	b.mu.Unlock()
	for p := range b.pend {
		b.mu.Lock()
		if b.pend[p].empty() {
			b.mu.Unlock()
			continue
		}
		b.flush(p)
	}
	b.flushing.Lock()
	b.flushing.Unlock() //nolint:staticcheck // whoever had it has pushed now
	b.ring.Show()
}

// close flushes and stops the timer.
func (b *batcher) close() {
	b.mu.Lock()
	b.closed = true
	b.timer.Stop()
	b.mu.Unlock()
	b.flushAll(nil)
}

// emit takes pushed samples; stored may be nil. Those of a class that is not
// Latest are never dropped: their sender waits for room before.
func (b *batcher) emit(l *lot, stored func()) {
	if stored != nil {
		l.receipt = replay.NewReceipt(stored)
	}
	b.add(l, b.clock.now())
	b.finish(l.receipt)
}

// finish gives the emit's own hold on its receipt to the pending batch, so that
// stored runs after the samples of the emit, from another goroutine, and also when
// the deadband held all of them back.
func (b *batcher) finish(c *replay.Receipt) {
	if c == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.pend[control.Slow]
	if w.empty() {
		w.began = b.clock.now()
		b.arm(maxLinger)
	}
	w.receipts = append(w.receipts, c)
}

// handlesOf reports which handles belong to links.
func handlesOf(links []*link) func(handle uint32) bool {
	type block struct{ first, end uint32 }
	var blocks []block
	for _, l := range links {
		l.mu.Lock()
		for _, d := range l.roster.devices {
			blocks = append(blocks, block{d.spec.FirstHandle, d.spec.FirstHandle + uint32(len(d.table.points))})
		}
		l.mu.Unlock()
	}
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.first, b.first) })
	return func(handle uint32) bool {
		i, found := slices.BinarySearchFunc(blocks, handle, func(b block, h uint32) int { return cmp.Compare(b.first, h) })
		if !found {
			i--
		}
		return i >= 0 && handle < blocks[i].end
	}
}
