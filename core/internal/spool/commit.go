package spool

import (
	"time"
)

// maxItems is how many records make a group that does not wait any longer.
const maxItems = 4096

// itemCost is what a queued call counts beside its bytes, so that duplicates alone
// cannot fill the memory.
const itemCost = 128

// keepBuffer is how large a buffer may be and still be kept for the next group,
// used or not.
const keepBuffer = 256 << 10

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

// commitLoop commits what no Commit does: a group that nobody calls it for, or that
// is long, or whose first try failed; and the last one.
func (s *Spool) commitLoop() {
	for final := false; !final; {
		select {
		case <-s.timer.C:
		case <-s.full:
		case <-s.closing:
			final = true
		}
		s.committing.Lock()
		s.commitNext()
		if final { // the first may have been what was left of a Commit
			s.commitNext()
		}
		s.committing.Unlock()
		s.lookAgain()
	}
}

// lookAgain has the committer store what was queued, and left to whoever
// committed, since that took the queue.
func (s *Spool) lookAgain() {
	s.mu.Lock()
	more := len(s.queue.items) > 0 && s.o.CommitEvery < 0
	s.mu.Unlock()
	if more {
		s.hurry()
	}
}

// commitNext stores one group, or tells everyone that it is not stored.
func (s *Spool) commitNext() {
	s.takeQueue()
	if s.refused {
		s.refuse(s.rest)
	} else {
		s.refused = !s.commitGroup(s.rest)
	}
	s.rest = queue{}
}

// slowSync is the time of a sync from which on Commit leaves the next to the
// committer, so that its caller can gather meanwhile.
const slowSync = 2 * time.Millisecond

// Commit has the queue stored without waiting for CommitEvery: for a caller that
// knows that nothing follows its last Append soon. On a fast disk it does so
// itself, which saves a wake-up, and returns when all is synced and everyone was
// told; otherwise it returns at once.
func (s *Spool) Commit() {
	if !s.committing.TryLock() {
		return // whoever holds it looks at the queue when it is done
	}
	if s.slow || s.refused || len(s.rest.items) > 0 {
		s.hurry()
	} else {
		s.commitHere()
	}
	s.committing.Unlock()
	s.lookAgain()
}

const (
	// gatherFor is how long what nobody waits for gathers, and gatherLimit how long
	// where no later call comes to commit it. A sync and its acknowledgement cost a gateway
	// whose devices are polled in slots of 50 ms a tenth of what its polls do.
	gatherFor   = 75 * time.Millisecond
	gatherLimit = 125 * time.Millisecond
	// gatherBytes is how much makes a group that does not wait any longer.
	gatherBytes = 256 << 10
)

// Gather is Commit for what nobody waits for: it commits the queue where its oldest
// record has waited for 75 ms, or it is long, or somebody is in Wait. Otherwise a later
// call does, or after 125 ms the committer.
func (s *Spool) Gather() {
	s.mu.Lock()
	age := time.Since(s.oldest)
	wait := age < gatherFor && len(s.queue.buf) < gatherBytes && s.grown == nil
	if wait && len(s.queue.items) > 0 && !s.armed {
		s.arm(gatherLimit - age)
	}
	s.mu.Unlock()
	if !wait {
		s.Commit()
	}
}

// laterLimit is how long Later leaves what was appended to whoever commits before.
const laterLimit = 10 * time.Millisecond

// Later is Commit for a caller that calls it too often: the committer commits the queue,
// within 10 ms.
func (s *Spool) Later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue.items) > 0 && !s.armed {
		s.arm(laterLimit)
	}
}

// arm has the committer look after a time; mu is held.
func (s *Spool) arm(after time.Duration) {
	s.armed = true
	s.timer.Reset(after)
}

// commitHere stores one group, and leaves it to the committer where that fails.
func (s *Spool) commitHere() {
	for s.takeQueue(); len(s.rest.items) > 0; {
		if err := s.commitPart(&s.rest); err != nil {
			s.setFault(err)
			s.hurry()
			return
		}
	}
	s.rest = queue{}
}

// takeQueue makes the queue the group to commit, unless some of the last one is
// left. committing is held.
func (s *Spool) takeQueue() {
	if len(s.rest.items) > 0 {
		return
	}
	s.group.reset()
	s.mu.Lock()
	s.timer.Stop()
	s.armed = false
	s.group, s.queue = s.queue, s.group
	s.mu.Unlock()
	s.rest = s.group
}

// hurry has the committer look at once.
func (s *Spool) hurry() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// commitGroup stores a group, in as many tries as the disk needs. It is false
// when a close ended it early; then nothing behind it may be stored either, since
// positions have no holes.
func (s *Spool) commitGroup(rest queue) bool {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	pause := least
	for len(rest.items) > 0 {
		err := s.commitPart(&rest)
		s.setFault(err)
		if err == nil {
			pause = least
			continue
		}
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-s.closing:
			retry.Stop()
			s.refuse(rest)
			return false
		}
		pause = min(2*pause, most)
	}
	return true
}

// refuse tells everyone left that the spool closes without their record.
func (s *Spool) refuse(rest queue) {
	for _, it := range rest.items {
		err := it.err
		if err == nil {
			err = ErrClosed
		}
		call(it.stored, err)
	}
}

// commitPart stores as much of the group as fits into the active file, or into a
// new one, and takes it off the group. Each part is synced before the next file
// begins: that a file exists proves that those before it are whole.
func (s *Spool) commitPart(rest *queue) error {
	n, size := s.fit(rest)
	if size > 0 {
		if s.active == nil {
			if err := s.create(rest); err != nil {
				return err
			}
			n, size = s.fit(rest)
		}
		if err := s.write(rest, n, size); err != nil {
			return err
		}
	}
	s.publish(rest.items[:n], size)
	rest.buf, rest.items = rest.buf[size:], rest.items[n:]
	return nil
}

// fit tells how many items, and bytes, of the group go into one file. When not
// even the first does, the active file is finished.
func (s *Spool) fit(rest *queue) (n, size int) {
	for range 2 {
		room := s.o.FileBytes
		if s.active != nil {
			room -= s.tail().size
		}
		fresh := s.active == nil || s.tail().first == s.last
		for n, size = 0, 0; n < len(rest.items); n++ {
			next := size + rest.items[n].size
			if int64(next) > room && (size > 0 || !fresh) && rest.items[n].size > 0 {
				break
			}
			size = next
		}
		if n > 0 {
			break
		}
		s.finish()
	}
	return n, size
}

// tail is the last file, nil where there is none. Only the committer adds or removes it, but
// retention changes the list before it.
func (s *Spool) tail() *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tailLocked()
}

func (s *Spool) tailLocked() *file {
	if len(s.files) == 0 {
		return nil
	}
	return s.files[len(s.files)-1]
}

func (s *Spool) finish() {
	_ = s.active.Close() // it is synced
	s.active = nil
}

// account counts what is stored of a driver; mu is held.
func (s *Spool) account(it *item) {
	if sum := s.tailLocked().sum; sum != nil {
		sum.add(it.driver, it.size, it.time.UnixNano())
	}
	s.count.written[it.driver] += uint64(it.size)
}

// publish makes synced items visible to readers and then tells who waits.
func (s *Spool) publish(items []item, size int) {
	lived := s.lived()
	s.mu.Lock()
	s.queued -= size + len(items)*itemCost
	for i := range items {
		if it := &items[i]; it.size > 0 {
			s.stored.raise(it.driver, it.epoch, it.sequence)
			s.last, s.newest = it.position+1, it.time
			s.account(it)
			if s.queuedBy[it.driver] -= it.size; s.queuedBy[it.driver] <= 0 {
				delete(s.queuedBy, it.driver)
			}
		}
	}
	if size > 0 {
		s.newestLived = lived
		s.tailLocked().size += int64(size)
		s.count.syncs++
		s.wake()
	}
	s.room.Broadcast()
	end := s.last
	s.mu.Unlock()
	if size > 0 {
		s.writeEnd(end, lived)
	}
	for _, it := range items {
		call(it.stored, it.err)
	}
}
