package supervise

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

var (
	_ host.Handler     = (*intake)(nil)
	_ host.Flusher     = (*intake)(nil)
	_ host.RingHandler = (*intake)(nil)
)

// intake takes what one process sends: it checks it, keeps the books and gives it to the
// spool. Its Handler's methods are called by the stream's goroutine, and never take the
// pool's lock for longer than a moment. It has no lock: each of its parts says what guards it.
type intake struct {
	epoch uint64 // constant, as are those to the next blank line
	in    *inlet
	owner owner

	vitals     vitals
	frames     ledger
	gate       gate
	unreported unreported
	counters   counted
}

// owner is the life that an intake is part of. Its methods take the pool's lock.
type owner interface {
	// noteCondition takes a condition. It is true where e tells of what the driver does not have, and
	// has not had just now.
	noteCondition(e control.Event) (foreign bool)
	// disown takes the names of what the driver does not have from a gap.
	disown(links []frame.GapLink)
	// convict kills the process for what it sent.
	convict(why error)
	// configured is what is configured now.
	configured() *control.State
}

func (i *intake) open(in *inlet, by owner, epoch uint64) {
	i.in, i.owner, i.epoch, i.vitals.began = in, by, epoch, time.Now()
	i.gate.in, i.gate.owner, i.gate.frames = in, by, &i.frames
	i.frames.moved = make(chan struct{}, 1)
	i.frames.startOver()
	i.vitals.hear()
}

// Frame takes one frame from the stream to the spool. While the spool is full it
// blocks, and with it the stream: credit then stops the driver. It does too while others
// have not had their share.
func (i *intake) Frame(seq uint64, data []byte) {
	if i.gate.isConvicted() {
		return // neither stored nor acknowledged: a gap tells of it when the process is dead
	}
	now := time.Now()
	i.vitals.take()
	defer i.vitals.taken()
	data, found := i.gate.inspect(seq, data, now)
	if data == nil {
		return
	}
	i.pace(frameCost + len(data) + sampleCost*int(found.Samples))
	i.endLosses(now)
	i.findHole(seq, found, now)
	i.frames.floor.Store(seq)
	in := i.in
	in.counts.frames.Add(1)
	in.counts.bytes.Add(uint64(len(data)))
	r := spool.Record{Driver: in.driver, Epoch: i.epoch, Sequence: seq, Stored: now, Data: data}
	in.spool.Append(r, func(err error) {
		if err != nil {
			return // not stored: not acknowledged
		}
		i.frames.ack(seq)
	})
	i.frames.came(seq, found.Newest, now)
}

// Flush has the spool commit what a message brought: a driver gathers what belongs
// together, so nothing follows at once.
func (i *intake) Flush(patient bool) {
	i.vitals.take()
	defer i.vitals.taken()
	i.in.commit(patient)
}

// Heartbeat is a sign of life, of the engine too where progress has grown.
func (i *intake) Heartbeat(progress uint64) { i.vitals.beat(progress) }

// Event logs a change of a link's or device's condition, if it is this process that
// holds the link.
func (i *intake) Event(e control.Event) {
	if i.gate.isConvicted() {
		return
	}
	i.vitals.take()
	defer i.vitals.taken()
	i.pace(eventCost)
	i.unreported.notePushes(e)
	if foreign := i.owner.noteCondition(e); foreign {
		i.gate.refuseEvent(e)
	}
}

// Ring takes the counters of a heartbeat.
func (i *intake) Ring(r control.RingStatus) { i.counters.takeRing(r) }

// pace waits until there is room for what a process brings.
func (i *intake) pace(cost int) {
	for {
		wait := i.in.shares.take(i.in, cost)
		if wait <= 0 {
			return
		}
		time.Sleep(wait)
		i.vitals.take() // to wait for one's share is no fault of the spool
	}
}

// endLosses writes the gap records of what was lost before this process had the
// links, now that it delivers.
func (i *intake) endLosses(now time.Time) {
	lost, pushes := i.unreported.take()
	for _, l := range lost {
		state := l.state
		if state == nil {
			state = i.owner.configured()
		}
		i.in.writeLoss(l, state, now, pushes)
	}
}

// findHole writes a gap record for sequences that were left out, unless the frame
// is the driver's own gap and tells of them. It is committed with the frame, which is
// acknowledged after both are stored: a driver that leaves much out costs no more syncs.
func (i *intake) findHole(seq uint64, found wire.Contents, now time.Time) {
	last := i.frames.takenUpTo()
	if seq <= last || seq-last == 1 || found.First != 0 && found.First <= last+1 && found.Last >= seq-1 {
		return
	}
	i.in.log.say(slog.LevelError, "frames never came", "first", last+1, "last", seq-1)
	i.in.writeHole(hole(i.in.driver, last+1, seq-1, i.frames.lastFilled(), now))
	i.gate.offend(fmt.Errorf("frames %d to %d never came", last+1, seq-1))
}
