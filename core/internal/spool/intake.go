package spool

import (
	"sync"
	"time"
)

const (
	// maxItems is how many records make a group that does not wait any longer.
	maxItems = 4096
	// itemCost is what a queued call counts beside its bytes, so that duplicates alone
	// cannot fill the memory.
	itemCost = 128
	// keepBuffer is how large a buffer may be and still be kept for the next group, used or
	// not.
	keepBuffer = 256 << 10

	// gatherFor is how long what nobody waits for gathers, and gatherLimit how long where no
	// later call comes to commit it. A sync and its acknowledgement cost a gateway whose
	// devices are polled in slots of 50 ms a tenth of what its polls do.
	gatherFor   = 75 * time.Millisecond
	gatherLimit = 125 * time.Millisecond
	// gatherBytes is how much makes a group that does not wait any longer.
	gatherBytes = 256 << 10
	// laterLimit is how long Later leaves what was appended to whoever commits before.
	laterLimit = 10 * time.Millisecond
)

// queue holds encoded entries in one buffer, and who waits for them.
type queue struct {
	buf   []byte
	items []item
}

// item is one call of Append. It has no bytes when nothing is stored for it.
type item struct {
	size     int
	driver   string
	epoch    uint64
	sequence uint64
	position Position
	time     time.Time
	stored   func(error)
	err      error
}

func (q *queue) note(stored func(error), err error) {
	q.items = append(q.items, item{stored: stored, err: err})
}

func (q *queue) add(p Position, r *Record, stored func(error)) {
	before := len(q.buf)
	q.buf = appendEntry(q.buf, kindRecord, p, r)
	q.items = append(q.items, item{
		size: len(q.buf) - before, driver: r.Driver, epoch: r.Epoch, sequence: r.Sequence,
		position: p, time: r.Stored, stored: stored,
	})
}

func (q *queue) reset() {
	if cap(q.buf) > keepBuffer && len(q.buf) < cap(q.buf)/4 {
		q.buf = nil // a burst is over
	}
	clear(q.items)
	q.buf, q.items = q.buf[:0], q.items[:0]
}

func call(stored func(error), err error) {
	if stored != nil {
		stored(err)
	}
}

// intake is the way in: it numbers records, drops duplicates, holds what is not taken by the
// committer yet within its bounds, and tells the committer when to look.
//
// mu guards what stands below it; nothing else is locked while it is held.
type intake struct {
	limit int           // of bytes
	every time.Duration // how long the first record of a group waits; negative: for Commit or Gather alone
	due   chan struct{} // has the committer look at once
	timer *time.Timer   // has it look later

	mu         sync.Mutex
	room       sync.Cond // bytes has become less, or closed true
	closed     bool
	queue      queue
	oldest     time.Time // when the first of queue came
	armed      bool      // timer runs
	bytes      int       // in queue and in the group being committed
	byDriver   map[string]int
	accepted   marks
	next       Position // of the next record
	duplicates uint64
}

func newIntake(o *Options) *intake {
	in := &intake{
		limit: o.QueueBytes, every: o.CommitEvery,
		due: make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
		byDriver: map[string]int{},
	}
	in.timer.Stop()
	in.room.L = &in.mu
	return in
}

// begin sets what is stored already, before the first append.
func (in *intake) begin(m marks, next Position) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.accepted, in.next = m, next
}

// append is Spool.Append.
func (in *intake) append(r *Record, stored func(error)) {
	err := r.check()
	need := itemCost + headSize + len(r.Driver) + len(r.Data)
	in.mu.Lock()
	for !in.closed && (in.bytes > 0 && in.bytes+need > in.limit || in.hasShare(r.Driver, need)) {
		in.hurry() // whoever waits here may be the one that would commit
		in.room.Wait()
	}
	if in.closed {
		in.mu.Unlock()
		call(stored, ErrClosed)
		return
	}
	defer in.mu.Unlock()
	if len(in.queue.items) == 0 {
		in.oldest = time.Now()
		if in.every > 0 {
			in.arm(in.every)
		}
	}
	switch {
	case err != nil:
		in.queue.note(stored, err)
	case in.accepted.has(r.Driver, r.Epoch, r.Sequence):
		in.duplicates++
		in.queue.note(stored, nil)
	default:
		in.accepted.raise(r.Driver, r.Epoch, r.Sequence)
		in.queue.add(in.next, r, stored)
		in.byDriver[r.Driver] += in.queue.items[len(in.queue.items)-1].size
		in.next++
		in.bytes += need - itemCost
	}
	in.bytes += itemCost
	if len(in.queue.buf) >= in.limit/4 || len(in.queue.items) >= maxItems {
		in.hurry()
	}
}

// hasShare reports whether a driver has to wait because others could not queue as much as
// it has. What the gateway writes itself never waits for that. mu is held.
func (in *intake) hasShare(driver string, need int) bool {
	has := in.byDriver[driver]
	return driver != "" && has > 0 && has+need > in.limit-in.bytes
}

// hurry has the committer look at once.
func (in *intake) hurry() {
	select {
	case in.due <- struct{}{}:
	default:
	}
}

// arm has the committer look after a time; mu is held.
func (in *intake) arm(after time.Duration) {
	in.armed = true
	in.timer.Reset(after)
}

// ripe reports whether the queue has gathered long enough; otherwise the committer looks at
// it in time.
func (in *intake) ripe() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	age := time.Since(in.oldest)
	if age >= gatherFor || len(in.queue.buf) >= gatherBytes {
		return true
	}
	if len(in.queue.items) > 0 && !in.armed {
		in.arm(gatherLimit - age)
	}
	return false
}

// later has the committer look soon.
func (in *intake) later() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue.items) > 0 && !in.armed {
		in.arm(laterLimit)
	}
}

// lookAgain has the committer look where something was queued, and left to whoever
// committed, since that took the queue.
func (in *intake) lookAgain() {
	in.mu.Lock()
	more := len(in.queue.items) > 0 && in.every < 0
	in.mu.Unlock()
	if more {
		in.hurry()
	}
}

// take gives the queue for an empty one.
func (in *intake) take(empty queue) queue {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.timer.Stop()
	in.armed = false
	taken := in.queue
	in.queue = empty
	return taken
}

// release makes room for others: items were stored, with size bytes.
func (in *intake) release(items []item, size int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bytes -= size + len(items)*itemCost
	for i := range items {
		it := &items[i]
		if it.size == 0 {
			continue
		}
		if in.byDriver[it.driver] -= it.size; in.byDriver[it.driver] <= 0 {
			delete(in.byDriver, it.driver)
		}
	}
	in.room.Broadcast()
}

// counts gives the bytes that wait, and the duplicates so far.
func (in *intake) counts() (waiting int, duplicates uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bytes, in.duplicates
}

// close lets nothing more in. It is false where that was done before.
func (in *intake) close() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return false
	}
	in.closed = true
	in.room.Broadcast()
	return true
}
