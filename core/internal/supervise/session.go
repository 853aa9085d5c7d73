package supervise

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/plugin"
)

const (
	creditFrames = 4096    // in flight and not stored
	creditBytes  = 4 << 20 // the same in bytes: what one driver can make the core hold

	applyLimit  = 30 * time.Second
	attachLimit = 5 * time.Second
	drainLimit  = 5 * time.Second
	// heartbeatLimit is how long a process may be silent; its heartbeats come once
	// a second.
	heartbeatLimit = 5 * time.Second
	// reattach is the pause between attempts to attach, and reattachLimit how long
	// they are made before the process is given up.
	reattach      = 100 * time.Millisecond
	reattachLimit = 5 * time.Second
)

var errSilent = fmt.Errorf("no heartbeat for %v: it hangs, and is killed", heartbeatLimit)

// session is the life of one process from its first state to its end. All its
// methods but the Handler's are called by the keeper's run goroutine.
type session struct {
	*keeper
	proc    Process
	applied *engine.State

	attachment Attachment // nil: not attached
	attached   bool       // was, at least once
	brokeAt    time.Time  // since when it is not attached any more
	intake
	tracker
}

// intake is what the stream's goroutine shares with the session.
type intake struct {
	heard    atomic.Int64  // Unix nanoseconds of the last sign of life
	busy     atomic.Bool   // a frame waits for the spool: silence is the core's own fault
	last     atomic.Uint64 // the highest sequence that came
	lastAt   atomic.Int64  // Unix nanoseconds of its arrival
	storedAt chan struct{} // stored has grown

	mu     sync.Mutex
	acks   Attachment // takes acks; nil while not attached
	stored uint64     // the highest sequence stored
}

func newSession(k *keeper, proc Process) *session {
	s := &session{keeper: k, proc: proc, brokeAt: time.Now()}
	s.storedAt = make(chan struct{}, 1)
	s.lastAt.Store(time.Now().UnixNano())
	return s
}

// serve gives the process its state, takes its telemetry, and returns why that
// ended: nil after a drain because ctx is done.
func (s *session) serve(ctx context.Context) error {
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	for {
		if err := s.apply(ctx); err != nil {
			return s.ended(err)
		}
		retry, err := s.attach(ctx)
		if err != nil {
			return s.ended(err)
		}
		select {
		case <-ctx.Done():
			return s.drain()
		case <-s.proc.Done():
			return errors.New("the process ended")
		case <-s.broken():
			if s.silentFor(heartbeatLimit * 3 / 4) { // the stream has ended for just that
				return errSilent
			}
			s.log.Warn("the telemetry stream broke; attaching again", "err", s.attachment.Err())
			s.detach()
		case <-s.wake:
		case <-retry:
		case <-watch.C:
			if s.attachment != nil && s.silentFor(heartbeatLimit) {
				return errSilent
			}
		}
	}
}

// ended prefers the process's death to an error that followed from it. plugin
// tells a death within 50 ms.
func (s *session) ended(err error) error {
	select {
	case <-s.proc.Done():
	case <-time.After(100 * time.Millisecond):
	}
	return err
}

// apply brings the process to the desired state, where it is not there yet.
func (s *session) apply(ctx context.Context) error {
	s.keeper.mu.Lock()
	want := s.desired
	s.keeper.mu.Unlock()
	if want == nil || want == s.applied {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	faults, err := s.proc.Apply(limited, want, engine.ApplyOptions{})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("driver %s: apply revision %d: %w", s.kind, want.Revision, err)
	}
	s.applied = want
	s.setRefused(faults, want.Revision)
	return nil
}

// setRefused notes that the process refused a state that it had found valid.
func (s *session) setRefused(faults []engine.ConfigFault, revision uint64) {
	refused := ""
	if len(faults) > 0 {
		f := faults[0]
		refused = fmt.Sprintf("revision %d refused: %d faults, the first in %s/%s/%s: %s", revision, len(faults), f.Link, f.Device, f.Point, f.Text)
		s.log.Error("driver refused its configuration", "err", refused)
	}
	s.keeper.mu.Lock()
	defer s.keeper.mu.Unlock()
	s.refused = refused
}

// attach opens the stream where it should be open and is not. An attempt that
// failed is repeated when retry fires, until the process is given up.
func (s *session) attach(ctx context.Context) (retry <-chan time.Time, err error) {
	if s.applied == nil || s.attachment != nil || ctx.Err() != nil {
		return nil, nil
	}
	limited, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	s.heard.Store(time.Now().UnixNano())
	a, err := s.proc.Attach(limited, s.hello(), s)
	switch {
	case err == nil:
		s.opened(a)
		return nil, nil
	case ctx.Err() != nil:
		return nil, nil
	case !s.attached, time.Since(s.brokeAt) >= reattachLimit:
		return nil, err
	}
	return time.After(reattach), nil
}

func (s *session) hello() plugin.Hello {
	h := plugin.Hello{CoreEpoch: s.o.CoreEpoch, ProcessEpoch: s.epoch(), Frames: creditFrames, Bytes: creditBytes}
	if epoch, sequence := s.o.Spool.Mark(s.kind); epoch == h.ProcessEpoch {
		h.ResumeAfter = sequence
	}
	return h
}

func (s *session) epoch() uint64 { return s.proc.Description().ProcessEpoch }

// opened takes a into use. Frames may have been stored before Attach returned:
// they are acknowledged now.
func (s *session) opened(a Attachment) {
	s.attachment, s.attached = a, true
	s.intake.mu.Lock()
	s.acks = a
	stored := s.stored
	s.intake.mu.Unlock()
	if stored > 0 {
		a.Ack(stored)
	}
	s.enter(Active, "", time.Time{})
}

// detach closes the stream, if there is one, and waits until it delivers no more.
func (s *session) detach() {
	if s.attachment == nil {
		return
	}
	s.intake.mu.Lock()
	s.acks = nil
	s.intake.mu.Unlock()
	_ = s.attachment.Close() // it is over either way
	s.attachment, s.brokeAt = nil, time.Now()
}

// broken fires when the stream has ended.
func (s *session) broken() <-chan struct{} {
	if s.attachment == nil {
		return nil
	}
	return s.attachment.Done()
}

// silentFor tells that a process which sends heartbeats has sent nothing for so long.
func (s *session) silentFor(limit time.Duration) bool {
	return !s.busy.Load() && time.Since(time.Unix(0, s.heard.Load())) > limit
}

// drain lets the process finish, and waits until all it sent is stored.
func (s *session) drain() error {
	s.enter(Stopping, "", time.Time{})
	if s.applied == nil || isDone(s.proc.Done()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	drained, err := s.proc.Drain(ctx, nil)
	if err != nil {
		s.log.Warn("drain", "err", err)
		return nil
	}
	for s.attachment != nil && s.storedUpTo() < drained.LastSequence {
		select {
		case <-s.storedAt:
		case <-s.broken():
			return nil
		case <-ctx.Done():
			s.log.Warn("drain", "err", fmt.Errorf("frames %d to %d were not stored in %v", s.storedUpTo()+1, drained.LastSequence, drainLimit))
			return nil
		}
	}
	return nil
}

func (s *session) lastFrame() time.Time { return time.Unix(0, s.lastAt.Load()) }
