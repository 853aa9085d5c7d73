package supervise

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ledger is which frames of one process came and which are stored, by their sequences, and
// who is sent the acks. It may be used concurrently; mu guards what follows it.
type ledger struct {
	last   atomic.Uint64 // the highest sequence that came
	lastAt atomic.Int64  // Unix nanoseconds of its arrival
	floor  atomic.Uint64 // what the process knows to have been taken: its gaps are of what follows
	moved  chan struct{} // last or stored has grown

	mu     sync.Mutex
	acks   Attachment // takes acks; nil while not attached
	stored uint64     // the highest sequence stored
	newest int64      // the latest time of a sample in the frame that came last; 0: it had none, or none came
}

// resume is for a process of which an earlier core has stored frames, the last at a
// time.
func (b *ledger) resume(stored uint64, at time.Time) {
	if !at.IsZero() {
		b.lastAt.Store(at.UnixNano())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored = stored
	b.last.Store(stored)
}

// startOver is for a process that gets its first links: what it sent before is not of them.
func (b *ledger) startOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.newest = 0
	b.lastAt.Store(time.Now().UnixNano())
}

// came notes a frame that was given to the spool, and the latest time of a sample in it.
func (b *ledger) came(seq uint64, newest int64, at time.Time) {
	if seq > b.last.Load() {
		b.last.Store(seq)
		b.mu.Lock()
		b.newest = newest
		b.lastAt.Store(at.UnixNano())
		b.mu.Unlock()
	}
	b.pulse()
}

// ack runs in the spool's goroutine and does not block.
func (b *ledger) ack(seq uint64) {
	b.mu.Lock()
	b.stored = max(b.stored, seq)
	acks := b.acks
	b.mu.Unlock()
	if acks != nil {
		acks.Ack(seq)
	}
	b.pulse()
}

// acknowledgeBy sends acks by a from now on, the one that is due first; nil: by
// nobody.
func (b *ledger) acknowledgeBy(a Attachment) {
	b.mu.Lock()
	b.acks = a
	stored := b.stored
	b.mu.Unlock()
	if a != nil && stored > 0 {
		a.Ack(stored)
	}
}

func (b *ledger) pulse() {
	select {
	case b.moved <- struct{}{}:
	default:
	}
}

func (b *ledger) takenUpTo() uint64 { return b.last.Load() }

func (b *ledger) storedUpTo() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stored
}

// onTheWay is how long a frame is believed to have been on its way: the sources of
// samples may have clocks of their own.
const onTheWay = 5 * time.Second

// lastCame is when the frame that came last did.
func (b *ledger) lastCame() time.Time { return time.Unix(0, b.lastAt.Load()) }

// lastFilled is when the process filled the frame that came last: what it has read since
// then is in none. A core that is short of time takes frames in long after that.
func (b *ledger) lastFilled() time.Time {
	b.mu.Lock()
	came, newest := b.lastCame(), time.Unix(0, b.newest)
	b.mu.Unlock()
	if newest.After(came) || newest.Before(came.Add(-onTheWay)) {
		return came
	}
	return newest
}

// waiting bounds how long frames are waited for. Time in which the spool takes nothing does
// not count.
type waiting struct {
	patience time.Duration // while nothing comes
	most     time.Duration // in all; 0: as long as something comes
	blocked  func() bool   // the spool takes nothing
}

// await waits until a sequence has been reached.
func (b *ledger) await(ctx context.Context, dead <-chan struct{}, w waiting, sequence uint64, reached func() uint64) error {
	look := time.NewTicker(100 * time.Millisecond) // a pulse can be another's
	defer look.Stop()
	last, grown := uint64(0), time.Now()
	var waited time.Duration
	for n, before := reached(), grown; n < sequence; n = reached() {
		now := time.Now()
		if !w.blocked() {
			waited += now.Sub(before)
		}
		before = now
		if n > last || w.blocked() {
			last, grown = n, now
		}
		if now.Sub(grown) >= w.patience || w.most > 0 && waited >= w.most {
			return fmt.Errorf("frames %d to %d were not stored in time: it said that it has them, and gave none for %v, or not all in %v",
				n+1, sequence, now.Sub(grown).Round(time.Second), waited.Round(time.Second))
		}
		select {
		case <-b.moved:
		case <-look.C:
		case <-dead:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("frames %d to %d were not stored in time", n+1, sequence)
		}
	}
	return nil
}
