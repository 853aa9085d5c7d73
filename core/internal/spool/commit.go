package spool

import (
	"log/slog"
	"sync"
	"time"
)

// committer stores one group of records after another and tells who waits for them: its own
// goroutine does, or on a fast disk whoever calls commit.
//
// mu is held by whoever commits, through the sync and the calls of stored. It guards what
// stands below it, the appender and the hint among it, and is taken before the locks of
// retention, intake and index.
type committer struct {
	intake  *intake
	index   *index
	uptime  *uptime
	log     *slog.Logger
	trouble trouble
	closing chan struct{}

	mu      sync.Mutex
	out     *appender
	hint    *endHint
	group   queue // what was taken off the queue last; its buffers
	rest    queue // what of it is not stored yet
	refused bool  // a close ended a group early
}

// loop commits what no commit does: a group that nobody calls it for, or that
// is long, or whose first try failed; and the last one.
func (c *committer) loop() {
	for final := false; !final; {
		select {
		case <-c.intake.timer.C:
		case <-c.intake.due:
		case <-c.closing:
			final = true
		}
		c.mu.Lock()
		c.next()
		if final { // the first may have been what was left of a commit
			c.next()
		}
		c.mu.Unlock()
		c.intake.lookAgain()
	}
}

// next stores one group, or tells everyone that it is not stored. mu is held.
func (c *committer) next() {
	c.take()
	if c.refused {
		refuse(c.rest)
	} else {
		c.refused = !c.storeAll(c.rest)
	}
	c.rest = queue{}
}

// commit is Spool.Commit.
func (c *committer) commit() {
	if !c.mu.TryLock() {
		return // whoever holds it looks at the queue when it is done
	}
	if c.out.slow || c.refused || len(c.rest.items) > 0 {
		c.intake.hurry()
	} else {
		c.storeHere()
	}
	c.mu.Unlock()
	c.intake.lookAgain()
}

// take makes the queue the group to commit, unless some of the last one is left. mu is held.
func (c *committer) take() {
	if len(c.rest.items) > 0 {
		return
	}
	c.group.reset()
	c.group = c.intake.take(c.group)
	c.rest = c.group
}

// storeHere stores one group, and leaves it to the loop where that fails. mu is held.
func (c *committer) storeHere() {
	for c.take(); len(c.rest.items) > 0; {
		if err := c.storePart(&c.rest); err != nil {
			c.tell(err)
			c.intake.hurry()
			return
		}
	}
	c.rest = queue{}
}

// storeAll stores a group, in as many tries as the disk needs. It is false
// when a close ended it early; then nothing behind it may be stored either, since
// positions have no holes. mu is held.
func (c *committer) storeAll(rest queue) bool {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	pause := least
	for len(rest.items) > 0 {
		err := c.storePart(&rest)
		c.tell(err)
		if err == nil {
			pause = least
			continue
		}
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-c.closing:
			retry.Stop()
			refuse(rest)
			return false
		}
		pause = min(2*pause, most)
	}
	return true
}

// refuse tells everyone left that the spool closes without their record.
func refuse(rest queue) {
	for _, it := range rest.items {
		err := it.err
		if err == nil {
			err = ErrClosed
		}
		call(it.stored, err)
	}
}

// storePart stores as much of a group as one file takes, and takes it off the group.
func (c *committer) storePart(rest *queue) error {
	n, size, err := c.out.store(rest)
	if err != nil {
		return err
	}
	c.publish(rest.items[:n], size)
	rest.buf, rest.items = rest.buf[size:], rest.items[n:]
	return nil
}

// publish makes synced items visible to readers and then tells who waits.
func (c *committer) publish(items []item, size int) {
	lived := c.uptime.now()
	end := c.index.publish(items, size, lived)
	c.intake.release(items, size)
	if size > 0 {
		c.hint.write(end, lived)
	}
	for _, it := range items {
		call(it.stored, it.err)
	}
}

// tell keeps what happened for Stats and logs the beginning and the end of trouble.
func (c *committer) tell(err error) {
	queued, _ := c.intake.counts()
	c.trouble.set(err, queued, c.log)
}
