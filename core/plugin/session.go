package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// What one message gathers of frames that are ready.
	maxMessageFrames = 64
	maxMessageBytes  = 64 << 10

	// maxEvents bounds the events that wait for a session; beyond it all conditions
	// are sent anew, which says the same.
	maxEvents = 1024
)

type attachServer = grpc.BidiStreamingServer[driverv1.AttachRequest, driverv1.AttachResponse]

// Attach serves one core until it goes, another evicts it, or it is silent.
func (s *server) Attach(stream attachServer) error {
	defer s.seen()()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of Attach must be hello")
	}
	a, err := s.admit(stream.Context(), hello)
	if err != nil {
		return err
	}
	return a.run(stream, hello)
}

// admit makes the newcomer the current session once the one before it has let go of the ring.
func (s *server) admit(ctx context.Context, hello *driverv1.Hello) (*session, error) {
	s.mu.Lock()
	if hello.GetCoreEpoch() < s.epoch {
		defer s.mu.Unlock()
		return nil, status.Errorf(codes.FailedPrecondition,
			"a core of epoch %d has attached, this one's is %d", s.epoch, hello.GetCoreEpoch())
	}
	s.epoch = hello.GetCoreEpoch()
	before := s.current
	a := newSession(s)
	s.current = a
	s.mu.Unlock()
	if before == nil {
		return a, nil
	}
	before.evict(hello.GetCoreEpoch())
	select {
	case <-before.done:
		return a, nil
	case <-ctx.Done():
		// The next newcomer waits for this one, and so for the one before it.
		go func() { <-before.done; close(a.done) }()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// event passes a change of condition to whoever is attached. It never blocks.
func (s *server) event(e control.Event) {
	s.mu.Lock()
	a := s.current
	s.mu.Unlock()
	if a != nil {
		a.queueEvent(e)
	}
}

// session is one attachment as the driver sees it.
type session struct {
	server  *server
	evicted chan uint64   // the epoch that took over; room for one
	done    chan struct{} // closed when the ring is free for another
	heard   atomic.Int64  // when the core last said something, since the server was created

	sending sync.Mutex // a stream takes one SendMsg at a time

	mu      sync.Mutex
	credit  credit
	flight  []inFlight // sent and not acknowledged, in order
	bytes   uint64     // of flight
	acked   uint64
	held    *frame.Frame  // taken from the ring, not covered by credit; only the sender's
	granted chan struct{} // pulsed when credit may have grown

	eventMu  sync.Mutex
	events   []control.Event
	snapshot bool
	changed  chan struct{} // pulsed when there are events
}

// credit bounds flight.
type credit struct {
	frames uint32
	bytes  uint64
}

func decodeCredit(wire *driverv1.Credit) credit {
	return credit{frames: wire.GetFrames(), bytes: wire.GetBytes()}
}

type inFlight struct {
	sequence uint64
	size     uint64
}

func newSession(s *server) *session {
	a := &session{
		server: s, evicted: make(chan uint64, 1), done: make(chan struct{}),
		granted: make(chan struct{}, 1), changed: make(chan struct{}, 1), snapshot: true,
	}
	a.heard.Store(int64(time.Since(s.created)))
	return a
}

func (a *session) evict(epoch uint64) {
	select {
	case a.evicted <- epoch:
	default:
	}
}

// run serves the stream. It returns before its goroutines have ended, because
// only the return of the handler frees a Send that waits for a core that does not
// read; done is closed when they have.
func (a *session) run(stream attachServer, hello *driverv1.Hello) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	next := a.rewind(hello)
	ended := make(chan error, 3)
	var work sync.WaitGroup
	if err := stream.Send(welcome(a.server.backend.epoch, next)); err != nil {
		close(a.done)
		return err
	}
	work.Go(func() { ended <- a.receive(stream) })
	work.Go(func() { ended <- a.sendFrames(ctx, stream) })
	work.Go(func() { ended <- a.sendConditions(ctx, stream) })
	go a.finish(&work)
	select {
	case err := <-ended:
		return err
	case epoch := <-a.evicted:
		return status.Errorf(codes.Aborted, "a core of epoch %d has attached", epoch)
	}
}

// finish is the end of the session, after its stream.
func (a *session) finish(work *sync.WaitGroup) {
	work.Wait()
	a.server.mu.Lock()
	if a.server.current == a {
		a.server.current = nil
	}
	a.server.mu.Unlock()
	close(a.done)
}

func welcome(epoch, next uint64) *driverv1.AttachResponse {
	return &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Welcome{
		Welcome: &driverv1.Welcome{ProcessEpoch: epoch, NextSequence: next},
	}}
}

func (a *session) rewind(hello *driverv1.Hello) (next uint64) {
	resume := hello.GetResumeAfter()
	if hello.GetProcessEpoch() != a.server.backend.epoch {
		resume = 0
	}
	a.acked = resume
	a.credit = decodeCredit(hello.GetCredit())
	return a.server.ring.Attach(resume)
}

func (a *session) receive(stream attachServer) error {
	for {
		m := driverv1.AttachRequestFromVTPool()
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a.heard.Store(int64(time.Since(a.server.created)))
		if ack := m.GetAck(); ack != nil {
			a.acknowledge(ack.GetSequence(), ack.GetCredit())
		}
		m.ReturnToVTPool()
	}
}

// acknowledge gives credit back before the ring may use the frames' memory again,
// so that pack never copies what is no longer there.
func (a *session) acknowledge(sequence uint64, granted *driverv1.Credit) {
	a.mu.Lock()
	a.acked = max(a.acked, sequence)
	n := 0
	for n < len(a.flight) && a.flight[n].sequence <= sequence {
		a.bytes -= a.flight[n].size
		n++
	}
	a.flight = append(a.flight[:0], a.flight[n:]...)
	if granted != nil {
		a.credit = decodeCredit(granted)
	}
	a.mu.Unlock()
	pulse(a.granted)
	a.server.ring.Ack(sequence)
}

func (a *session) sendFrames(ctx context.Context, stream attachServer) error {
	for {
		f, err := a.next(ctx)
		if err != nil {
			return status.FromContextError(err).Err()
		}
		if err := a.awaitCredit(ctx, f); err != nil {
			return status.FromContextError(err).Err()
		}
		m := a.pack(f)
		if m == nil {
			continue
		}
		if err := a.send(stream, m); err != nil {
			return err
		}
	}
}

func (a *session) next(ctx context.Context) (frame.Frame, error) {
	if f := a.held; f != nil {
		a.held = nil
		return *f, nil
	}
	return a.server.ring.Next(ctx)
}

// covered reports whether the credit covers one more frame; under mu. A frame larger than all
// the credit goes alone, since it could never go otherwise.
func (a *session) covered(f frame.Frame) bool {
	if uint64(len(a.flight)) >= uint64(a.credit.frames) || a.bytes >= a.credit.bytes {
		return false
	}
	return len(a.flight) == 0 || a.bytes+uint64(len(f.Data)) <= a.credit.bytes
}

func (a *session) awaitCredit(ctx context.Context, f frame.Frame) error {
	for {
		a.mu.Lock()
		ok := a.covered(f) || f.Sequence <= a.acked
		a.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-a.granted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pack makes one message of f and of what else is ready and covered. Frames that
// were acknowledged meanwhile (sent on an earlier attachment) are left out.
func (a *session) pack(f frame.Frame) *wire.FrameMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	var frames [maxMessageFrames][]byte
	n, size := 0, 0
	for {
		if f.Sequence > a.acked {
			a.flight = append(a.flight, inFlight{sequence: f.Sequence, size: uint64(len(f.Data))})
			a.bytes += uint64(len(f.Data))
			frames[n] = f.Data
			n, size = n+1, size+len(f.Data)
		}
		if n == maxMessageFrames || size >= maxMessageBytes {
			break
		}
		var ok bool
		if f, ok = a.server.ring.TryNext(); !ok {
			break
		}
		if !a.covered(f) {
			a.held = &f
			break
		}
	}
	if n == 0 {
		return nil
	}
	return wire.NewFrameMessage(frames[:n])
}

func (a *session) queueEvent(e control.Event) {
	a.eventMu.Lock()
	if len(a.events) >= maxEvents {
		a.events, a.snapshot = a.events[:0], true
	}
	a.events = append(a.events, e)
	a.eventMu.Unlock()
	pulse(a.changed)
}

// sendConditions sends heartbeats, first all conditions, and then every change.
func (a *session) sendConditions(ctx context.Context, stream attachServer) error {
	beat := time.NewTicker(wire.HeartbeatEvery)
	defer beat.Stop()
	for {
		if err := a.sendEvents(stream); err != nil {
			return err
		}
		select {
		case <-a.changed:
		case <-beat.C:
			if err := a.beat(stream); err != nil {
				return err
			}
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (a *session) sendEvents(stream attachServer) error {
	a.eventMu.Lock()
	events, snapshot := a.events, a.snapshot
	a.events, a.snapshot = nil, false
	a.eventMu.Unlock()
	if snapshot {
		// Later than the events that waited, so they are in it.
		events = a.server.conditions()
	}
	for _, e := range events {
		m := &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Event{Event: wire.EncodeEvent(e)}}
		if err := a.send(stream, m); err != nil {
			return err
		}
	}
	return nil
}

func (a *session) beat(stream attachServer) error {
	if silent := time.Since(a.server.created) - time.Duration(a.heard.Load()); silent > wire.SilenceLimit {
		return status.Error(codes.DeadlineExceeded, fmt.Sprintf("no heartbeat from the core for %v", wire.SilenceLimit))
	}
	return a.send(stream, &driverv1.AttachResponse{Message: &driverv1.AttachResponse_Heartbeat{
		Heartbeat: &driverv1.Heartbeat{Progress: a.server.progress(), Ring: wire.EncodeRing(a.server.ring.Status())},
	}})
}

func (a *session) send(stream attachServer, m any) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return stream.SendMsg(m)
}

// pulse wakes whoever waits on c, now or the next time.
func pulse(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
