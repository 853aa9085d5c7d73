package host

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
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// The credit of a Hello that gives none.
	defaultFrames = 4096
	defaultBytes  = 4 << 20
	// ackEvery is the least time between two acks, unless a quarter of the credit waits for
	// one: an ack frees memory and credit, and nobody waits for it more urgently than that.
	ackEvery = 2 * time.Millisecond
	// closeWait is how long Close waits for the driver to take the last ack.
	closeWait = time.Second
)

// Hello opens an Attachment.
type Hello struct {
	CoreEpoch    uint64 // grows at every start of the core
	ProcessEpoch uint64 // of the process that ResumeAfter is of; 0: never attached
	ResumeAfter  uint64 // the last sequence that is stored
	Frames       uint32 // credit: how many frames may be unacknowledged; 0: a default
	Bytes        uint64 // and how many bytes; 0: a default
}

func (h Hello) withDefaults() Hello {
	if h.Frames == 0 {
		h.Frames = defaultFrames
	}
	if h.Bytes == 0 {
		h.Bytes = defaultBytes
	}
	return h
}

// A Handler takes what a driver process sends. It is called by one goroutine, in the
// order of sending; while it blocks, nothing more is taken from the process, and its
// credit bounds what that may have sent.
type Handler interface {
	// Frame takes one encoded frame; see DecodeFrame. The slice is the callee's; its
	// array is shared with frames that came just before and after, up to 64 KiB.
	Frame(seq uint64, frame []byte)
	// Event takes a change of condition, and, after the attachment has begun, the
	// present condition of every link and device.
	Event(e control.Event)
	// Heartbeat comes once a second. A progress that does not grow tells of an
	// engine that hangs in a process that does not.
	Heartbeat(progress uint64)
}

// A Flusher is a Handler that wants to know when the frames of one message have all
// been given to it: what follows may take a while. Where all are patient, nobody waits
// for their acknowledgement.
type Flusher interface{ Flush(patient bool) }

// A RingHandler is a Handler that wants the counters of the process's ring, of which
// heartbeats may tell.
type RingHandler interface{ Ring(r control.RingStatus) }

type attachClient = grpc.BidiStreamingClient[driverv1.AttachRequest, driverv1.AttachResponse]

// An Attachment is the data plane of a process. It ends with the process, when
// another core evicts it, when the process is silent, or by Close.
type Attachment struct {
	process *Process
	hello   Hello
	to      Handler
	flush   func(patient bool) // of a Flusher; may be nil
	epoch   uint64
	next    uint64

	acked  atomic.Uint64
	told   atomic.Uint64 // the last sequence acknowledged on the wire
	wake   chan struct{} // pulsed by Ack
	urgent chan struct{} // pulsed by Ack when much waits

	closing   chan struct{}
	closeOnce sync.Once
	end       context.CancelCauseFunc
	work      sync.WaitGroup
	err       error // set before done is closed
	done      chan struct{}
}

var (
	errClosed = errors.New("attachment is closed")
	errSilent = errors.New("no heartbeat")
)

// Attach begins the data plane and returns once the process has answered. ctx bounds
// that answer, not the attachment.
func (p *Process) Attach(ctx context.Context, h Hello, to Handler) (*Attachment, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	a := &Attachment{
		process: p, hello: h.withDefaults(), to: to,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	p.begin(a)
	if f, ok := to.(Flusher); ok {
		a.flush = f.Flush
	}
	a.acked.Store(h.ResumeAfter)
	a.told.Store(h.ResumeAfter)
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	a.end = end
	stop := context.AfterFunc(ctx, func() { end(ctx.Err()) })
	stream, err := a.open(life)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end(err)
		err = fmt.Errorf("attach to driver %s: %w", p.command.Name, a.reason(ctx, err))
		p.over(a, err)
		return nil, err
	}
	a.work.Go(func() { a.receive(life, stream) })
	a.work.Go(func() { a.send(life, stream) })
	return a, nil
}

func (a *Attachment) open(ctx context.Context) (attachClient, error) {
	stream, err := a.process.rpc.Attach(ctx)
	if err != nil {
		return nil, err
	}
	h := a.hello
	err = stream.Send(&driverv1.AttachRequest{Message: &driverv1.AttachRequest_Hello{Hello: &driverv1.Hello{
		CoreEpoch: h.CoreEpoch, ProcessEpoch: h.ProcessEpoch, ResumeAfter: h.ResumeAfter,
		Credit: &driverv1.Credit{Frames: h.Frames, Bytes: h.Bytes},
	}}})
	if err != nil && !errors.Is(err, io.EOF) { // Recv tells why there is an EOF
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return nil, status.Error(codes.DataLoss, "the driver's first message is not welcome")
	}
	if e := welcome.GetProcessEpoch(); e != 0 && e != a.process.described.ProcessEpoch {
		return nil, status.Errorf(codes.DataLoss, "the driver says that its process epoch is %d, and was %d", e, a.process.described.ProcessEpoch)
	}
	a.epoch, a.next = welcome.GetProcessEpoch(), welcome.GetNextSequence()
	return stream, nil
}

// ProcessEpoch is the epoch that the sequences belong to.
func (a *Attachment) ProcessEpoch() uint64 { return a.epoch }

// NextSequence is the sequence of the first frame to come.
func (a *Attachment) NextSequence() uint64 { return a.next }

// Ack says that every frame up to and including sequence is stored. It never blocks: what it
// says is sent soon, together with what later acks say.
func (a *Attachment) Ack(sequence uint64) {
	for {
		acked := a.acked.Load()
		if sequence <= acked {
			return
		}
		if a.acked.CompareAndSwap(acked, sequence) {
			break
		}
	}
	pulse(a.wake)
	if sequence-a.told.Load() >= uint64(a.hello.Frames/4) {
		pulse(a.urgent)
	}
}

// Done is closed when the attachment has ended and the Handler will not be called any more.
func (a *Attachment) Done() <-chan struct{} { return a.done }

// Err tells, after Done, why the attachment ended: nil after Close.
func (a *Attachment) Err() error {
	select {
	case <-a.done:
		return a.err
	default:
		return nil
	}
}

// Close sends the last ack, ends the attachment and waits until the Handler has
// returned. The process goes on, and keeps its frames for the next attachment. It
// is safe to call twice, but not from the Handler.
func (a *Attachment) Close() error {
	a.closeOnce.Do(func() { close(a.closing) })
	limit := time.NewTimer(closeWait)
	defer limit.Stop()
	select {
	case <-a.done:
	case <-limit.C:
		a.end(errClosed)
	}
	a.work.Wait()
	return nil
}

// receive hands on what comes until the stream ends.
func (a *Attachment) receive(ctx context.Context, stream attachClient) {
	defer close(a.done)
	silence := newSilence(a.process.command.HeartbeatTimeout, func() { a.end(errSilent) })
	defer silence.over()
	var m wire.AttachMessage
	last := a.next - min(a.next, 1)
	for {
		// Only waiting counts as silence, not the handler's own time.
		silence.begin()
		err := stream.RecvMsg(&m)
		silence.over()
		if err == nil {
			last, err = a.handle(&m, last)
		}
		if err != nil {
			a.finish(ctx, err)
			return
		}
	}
}

func (a *Attachment) handle(m *wire.AttachMessage, last uint64) (uint64, error) {
	patient := true
	for i, frame := range m.Frames {
		m.Frames[i] = nil // the callee's alone
		seq, calm, err := wire.FrameHead(frame)
		patient = patient && calm
		if err != nil {
			return last, &driver.Error{Code: driver.Protocol, Text: err.Error(), Err: err}
		}
		if seq <= last {
			return last, driver.Errorf(driver.Protocol, "frame %d came after frame %d", seq, last)
		}
		last = seq
		a.to.Frame(seq, frame)
	}
	if len(m.Frames) > 0 && a.flush != nil {
		a.flush(patient)
	}
	switch other := m.Other.GetMessage().(type) {
	case *driverv1.AttachResponse_Event:
		a.to.Event(wire.DecodeEvent(other.Event))
	case *driverv1.AttachResponse_Heartbeat:
		if to, ok := a.to.(RingHandler); ok && other.Heartbeat.GetRing() != nil {
			to.Ring(wire.DecodeRing(other.Heartbeat.GetRing()))
		}
		a.to.Heartbeat(other.Heartbeat.GetProgress())
	}
	return last, nil
}

func (a *Attachment) finish(ctx context.Context, err error) {
	select {
	case <-a.closing:
	default:
		if errors.Is(context.Cause(ctx), errSilent) {
			err = a.noHeartbeat()
		} else {
			err = a.reason(ctx, err)
		}
		a.err = fmt.Errorf("attachment to driver %s: %w", a.process.command.Name, err)
	}
	a.process.over(a, a.err)
	a.end(errClosed)
}

// noHeartbeat is the error of a stream that stayed silent.
func (a *Attachment) noHeartbeat() error {
	p := a.process
	return &driver.Error{
		Code: driver.Timeout,
		Text: fmt.Sprintf("process %d has sent no heartbeat for %v: it hangs or is stopped", p.PID(), p.command.HeartbeatTimeout),
	}
}

// reason says why a stream ended. ctx bounds the wait for the news of a death.
func (a *Attachment) reason(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return driver.Errorf(driver.NotConnected, "the driver ended it")
	case status.Code(err) == codes.FailedPrecondition, status.Code(err) == codes.Aborted:
		return fmt.Errorf("%w: %s", wire.ErrEvicted, wire.FaultText(status.Convert(err).Message()))
	}
	return a.process.fault(ctx, "data plane", err)
}

// send sends acks and heartbeats until the attachment ends.
func (a *Attachment) send(ctx context.Context, stream attachClient) {
	beat := time.NewTicker(wire.HeartbeatEvery)
	defer beat.Stop()
	var last time.Time // of an ack
	for {
		var err error
		select {
		case <-a.wake:
			a.pause(ctx, last.Add(ackEvery))
			err = a.sendAck(stream)
			last = time.Now()
		case <-beat.C:
			err = stream.SendMsg(&driverv1.AttachRequest{
				Message: &driverv1.AttachRequest_Heartbeat{Heartbeat: &driverv1.Heartbeat{}},
			})
		case <-a.closing:
			if a.sendAck(stream) == nil {
				_ = stream.CloseSend()
			}
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return // receive tells why
		}
	}
}

func (a *Attachment) sendAck(stream attachClient) error {
	acked := a.acked.Load()
	if acked <= a.told.Load() {
		return nil
	}
	a.told.Store(acked)
	m := driverv1.AttachRequestFromVTPool()
	defer m.ReturnToVTPool()
	m.Message = &driverv1.AttachRequest_Ack{Ack: &driverv1.Ack{Sequence: acked}}
	return stream.SendMsg(m)
}

// pause lets acks gather until a time. Mostly that has passed, and costs no timer:
// a wake-up of a process that sleeps costs more than the ack.
func (a *Attachment) pause(ctx context.Context, until time.Time) {
	left := time.Until(until)
	if left <= 0 {
		return
	}
	wait := time.NewTimer(left)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-a.urgent:
	case <-a.closing:
	case <-ctx.Done():
	}
}
