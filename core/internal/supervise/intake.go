package supervise

import (
	"time"

	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/plugin"
)

var _ plugin.Handler = (*session)(nil)

// Frame takes one frame from the stream to the spool. While the spool is full it
// blocks, and with it the stream: credit then stops the driver.
func (s *session) Frame(seq uint64, frame []byte) {
	now := time.Now()
	s.busy.Store(true)
	defer func() {
		s.heard.Store(time.Now().UnixNano())
		s.busy.Store(false)
	}()
	s.endLoss(now)
	s.findHole(seq, frame, now)
	if seq > s.last.Load() {
		s.last.Store(seq)
		s.lastAt.Store(now.UnixNano())
	}
	s.frames.Add(1)
	s.bytes.Add(uint64(len(frame)))
	r := spool.Record{Driver: s.kind, Epoch: s.epoch(), Sequence: seq, Stored: now, Data: frame}
	s.o.Spool.Append(r, func(err error) {
		if err != nil {
			return // not stored: not acknowledged
		}
		s.ack(seq)
		if s.o.Stored != nil {
			s.o.Stored(r)
		}
	})
}

// endLoss writes the gap record of the process before, once this one delivers.
func (s *session) endLoss(now time.Time) {
	s.keeper.mu.Lock()
	l := s.loss
	s.loss = nil
	s.keeper.mu.Unlock()
	if l != nil {
		s.gaps.write(l.lostWith(s.kind, now))
		s.losses.Add(1)
	}
}

// findHole writes a gap record for sequences that were left out, unless the frame
// is the driver's own gap and tells of them.
func (s *session) findHole(seq uint64, frame []byte, now time.Time) {
	last := s.last.Load()
	if seq <= last+1 {
		return
	}
	if _, _, g, err := plugin.DecodeFrame(frame); err == nil && g != nil && g.FirstSeq <= last+1 && g.LastSeq >= seq-1 {
		return
	}
	s.log.Error("frames never came", "first", last+1, "last", seq-1)
	s.gaps.write(hole(s.kind, last+1, seq-1, s.lastFrame(), now))
	s.losses.Add(1)
}

// ack runs in the spool's goroutine and does not block.
func (s *session) ack(seq uint64) {
	s.intake.mu.Lock()
	s.stored = max(s.stored, seq)
	acks := s.acks
	s.intake.mu.Unlock()
	if acks != nil {
		acks.Ack(seq)
	}
	select {
	case s.storedAt <- struct{}{}:
	default:
	}
}

func (s *session) storedUpTo() uint64 {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	return s.stored
}

// Heartbeat is a sign of life.
func (s *session) Heartbeat(uint64) { s.heard.Store(time.Now().UnixNano()) }

// Event logs a change of a link's or device's condition.
func (s *session) Event(e engine.Event) {
	s.heard.Store(time.Now().UnixNano())
	s.note(e, s.log)
}
