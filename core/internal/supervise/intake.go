package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

var (
	_ host.Handler = (*intake)(nil)
	_ host.Flusher = (*intake)(nil)
)

// intake takes what one process sends. Its Handler's methods are called by the
// stream's goroutine, and never take the pool's lock for longer than a moment.
type intake struct {
	pool    *pool // constant, as are those to the next blank line
	epoch   uint64
	began   time.Time
	backlog uint64 // the sequence up to which it had frames when it was adopted; the pool's mu guards it

	heard    atomic.Int64  // when the last sign of life came, since began: a step of the wall clock is no silence
	busy     atomic.Int64  // since when, since began, a frame is with the spool: silence is the core's own fault; 0: none is
	last     atomic.Uint64 // the highest sequence that came
	floor    atomic.Uint64 // what the process knows to have been taken: its gaps are of what follows
	lastAt   atomic.Int64  // Unix nanoseconds of its arrival
	progress atomic.Uint64 // of the last heartbeat
	grown    atomic.Bool   // progress was seen to grow: a driver of another make need not tell it
	stalled  atomic.Int32  // heartbeats without progress
	moved    chan struct{} // last or stored has grown
	offences offences

	counters counted // has a lock of its own

	mu     sync.Mutex
	acks   Attachment         // takes acks; nil while not attached
	stored uint64             // the highest sequence stored
	losses []*loss            // which end with the next frame
	newest int64              // the latest time of a sample in the frame that came last; 0: it had none, or none came
	pushes map[place]struct{} // devices that send by themselves
}

func (i *intake) open(p *pool, epoch uint64) {
	i.pool, i.epoch, i.began = p, epoch, time.Now()
	i.moved = make(chan struct{}, 1)
	i.startOver()
	i.hear()
}

// resume is for a process of which an earlier core has stored frames, the last at a
// time.
func (i *intake) resume(stored uint64, at time.Time) {
	if !at.IsZero() {
		i.lastAt.Store(at.UnixNano())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stored = stored
	i.last.Store(stored)
}

// startOver is for a process that gets its first links: what it sent before is not of them.
func (i *intake) startOver() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.newest = 0
	i.lastAt.Store(time.Now().UnixNano())
}

func (i *intake) hear() { i.heard.Store(int64(time.Since(i.began))) }

// Frame takes one frame from the stream to the spool. While the spool is full it
// blocks, and with it the stream: credit then stops the driver. It does too while others
// have not had their share.
func (i *intake) Frame(seq uint64, frame []byte) {
	if i.offences.isConvicted() {
		return // neither stored nor acknowledged: a gap tells of it when the process is dead
	}
	now := time.Now()
	i.take()
	defer i.taken()
	frame, found := i.inspect(seq, frame, now)
	if frame == nil {
		return
	}
	i.pace(frameCost + len(frame) + sampleCost*int(found.Samples))
	i.endLosses(now)
	i.findHole(seq, found, now)
	i.floor.Store(seq)
	p := i.pool
	p.frames.Add(1)
	p.bytes.Add(uint64(len(frame)))
	r := spool.Record{Driver: p.kind, Epoch: i.epoch, Sequence: seq, Stored: now, Data: frame}
	p.s.o.Spool.Append(r, func(err error) {
		if err != nil {
			return // not stored: not acknowledged
		}
		i.ack(seq)
	})
	if seq > i.last.Load() {
		i.last.Store(seq)
		i.came(found.Newest, now)
	}
	i.pulse()
}

func (i *intake) came(newest int64, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.newest = newest
	i.lastAt.Store(at.UnixNano())
}

// Flush has the spool commit what a message brought: a driver gathers what belongs
// together, so nothing follows at once. What nobody waits for may gather still.
func (i *intake) Flush(patient bool) {
	i.take()
	defer i.taken()
	switch {
	case !i.pool.commits.pass():
		i.pool.s.o.Spool.Later()
	case patient:
		i.pool.s.o.Spool.Gather()
	default:
		i.pool.s.o.Spool.Commit()
	}
}

// take begins the time in which the process's silence is the core's own fault, and taken
// ends it.
func (i *intake) take() { i.busy.Store(max(1, int64(time.Since(i.began)))) }

func (i *intake) taken() {
	i.hear()
	i.busy.Store(0)
}

// blocked tells that the spool takes nothing.
func (i *intake) blocked() bool {
	since := i.busy.Load()
	return since != 0 && time.Since(i.began)-time.Duration(since) >= time.Second
}

// behind tells that the process has much to give before it can give anything else: what
// it had when it was adopted, or what a full disk does not take.
func (i *intake) behind() bool { return i.takenUpTo() < i.backlog || i.blocked() }

// endLosses writes the gap records of what was lost before this process had the
// links, now that it delivers.
func (i *intake) endLosses(now time.Time) {
	i.mu.Lock()
	lost := i.losses
	i.losses = nil
	var pushes map[place]struct{}
	if len(lost) > 0 {
		pushes = maps.Clone(i.pushes)
	}
	i.mu.Unlock()
	for _, l := range lost {
		i.pool.writeLoss(l, now, pushes)
	}
}

// findHole writes a gap record for sequences that were left out, unless the frame
// is the driver's own gap and tells of them. It is committed with the frame, which is
// acknowledged after both are stored: a driver that leaves much out costs no more syncs.
func (i *intake) findHole(seq uint64, found wire.Contents, now time.Time) {
	last := i.last.Load()
	if seq <= last || seq-last == 1 || found.First != 0 && found.First <= last+1 && found.Last >= seq-1 {
		return
	}
	p := i.pool
	p.log.say(slog.LevelError, "frames never came", "first", last+1, "last", seq-1)
	p.s.gaps.append(hole(p.kind, last+1, seq-1, i.lastFilled(), now))
	p.gaps.Add(1)
	i.offend(fmt.Errorf("frames %d to %d never came", last+1, seq-1))
}

// ack runs in the spool's goroutine and does not block.
func (i *intake) ack(seq uint64) {
	i.mu.Lock()
	i.stored = max(i.stored, seq)
	acks := i.acks
	i.mu.Unlock()
	if acks != nil {
		acks.Ack(seq)
	}
	i.pulse()
}

// acknowledgeBy sends acks by a from now on, the one that is due first; nil: by
// nobody.
func (i *intake) acknowledgeBy(a Attachment) {
	i.mu.Lock()
	i.acks = a
	stored := i.stored
	i.mu.Unlock()
	if a != nil && stored > 0 {
		a.Ack(stored)
	}
}

func (i *intake) pulse() {
	select {
	case i.moved <- struct{}{}:
	default:
	}
}

func (i *intake) takenUpTo() uint64 { return i.last.Load() }

func (i *intake) storedUpTo() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stored
}

// onTheWay is how long a frame is believed to have been on its way: the sources of
// samples may have clocks of their own.
const onTheWay = 5 * time.Second

// lastFilled is when the process filled the frame that came last: what it has read since
// then is in none. A core that is short of time takes frames in long after that.
func (i *intake) lastFilled() time.Time {
	i.mu.Lock()
	came, newest := time.Unix(0, i.lastAt.Load()), time.Unix(0, i.newest)
	i.mu.Unlock()
	if newest.After(came) || newest.Before(came.Add(-onTheWay)) {
		return came
	}
	return newest
}

// silentFor tells that a process which sends heartbeats has sent nothing for so long.
func (i *intake) silentFor(limit time.Duration) bool {
	return i.busy.Load() == 0 && time.Since(i.began)-time.Duration(i.heard.Load()) > limit
}

// Heartbeat is a sign of life, of the engine too where progress has grown.
func (i *intake) Heartbeat(progress uint64) {
	i.hear()
	switch before := i.progress.Swap(progress); {
	case progress != before:
		i.grown.Store(true)
		i.stalled.Store(0)
	case i.grown.Load():
		i.stalled.Add(1)
	}
}

// Event logs a change of a link's or device's condition, if it is this process that
// holds the link.
func (i *intake) Event(e control.Event) {
	if i.offences.isConvicted() {
		return
	}
	i.take()
	defer i.taken()
	i.pace(eventCost)
	i.notePushes(e)
	if foreign := i.pool.note(i, e); foreign {
		i.refuseEvent(e)
	}
}

const (
	// maxPushing and maxPushingName bound what is kept of devices that send by
	// themselves. Of others a gap counts the polls that were due, which is too many.
	maxPushing     = 1 << 14
	maxPushingName = 256
)

// notePushes notes whether a device sends by itself.
func (i *intake) notePushes(e control.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := place{e.Link, e.Device}
	switch {
	case !e.Pushes:
		delete(i.pushes, at)
	case len(i.pushes) < maxPushing && len(e.Link)+len(e.Device) <= maxPushingName:
		if i.pushes == nil {
			i.pushes = make(map[place]struct{})
		}
		i.pushes[at] = struct{}{}
	}
}

// waiting bounds how long frames are waited for. Time in which the spool takes nothing does
// not count.
type waiting struct {
	patience time.Duration // while nothing comes
	most     time.Duration // in all; 0: as long as something comes
}

// await waits until a sequence has been reached.
func (i *intake) await(ctx context.Context, dead <-chan struct{}, w waiting, sequence uint64, reached func() uint64) error {
	look := time.NewTicker(100 * time.Millisecond) // a pulse can be another's
	defer look.Stop()
	last, grown := uint64(0), time.Now()
	var waited time.Duration
	for n, before := reached(), grown; n < sequence; n = reached() {
		now := time.Now()
		if !i.blocked() {
			waited += now.Sub(before)
		}
		before = now
		if n > last || i.blocked() {
			last, grown = n, now
		}
		if now.Sub(grown) >= w.patience || w.most > 0 && waited >= w.most {
			return fmt.Errorf("frames %d to %d were not stored in time: it said that it has them, and gave none for %v, or not all in %v",
				n+1, sequence, now.Sub(grown).Round(time.Second), waited.Round(time.Second))
		}
		select {
		case <-i.moved:
		case <-look.C:
		case <-dead:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("frames %d to %d were not stored in time", n+1, sequence)
		}
	}
	return nil
}
