package plugin

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// maxPending bounds the questions on the wire; further ones wait. Together
	// they fit into the stream's window, so that a Send does not wait for the core.
	maxPending = 64
)

type servicesServer = grpc.BidiStreamingServer[driverv1.ServicesRequest, driverv1.ServicesResponse]

// questions asks the core on behalf of the driver. A question waits for a core
// that is there, then for its answer, and for both no longer than its context.
type questions struct {
	places chan struct{}

	mu      sync.Mutex
	stream  servicesServer // nil: no core
	arrived chan struct{}  // closed when stream is set
	pending map[uint64]chan *driverv1.ServicesRequest
	last    uint64

	sending sync.Mutex
}

func newQuestions() *questions {
	return &questions{
		places:  make(chan struct{}, maxPending),
		arrived: make(chan struct{}), pending: make(map[uint64]chan *driverv1.ServicesRequest),
	}
}

// serve takes the stream into use, in place of the one before, until it ends.
func (q *questions) serve(stream servicesServer) error {
	q.mu.Lock()
	if q.stream == nil {
		close(q.arrived)
	}
	q.stream = stream
	q.mu.Unlock()
	defer q.leave(stream)
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q.mu.Lock()
		if waiting, ok := q.pending[answer.GetId()]; ok {
			delete(q.pending, answer.GetId())
			waiting <- answer
		}
		q.mu.Unlock()
	}
}

// leave fails every question that the stream will not answer any more.
func (q *questions) leave(stream servicesServer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stream != stream {
		return
	}
	q.stream, q.arrived = nil, make(chan struct{})
	for id, waiting := range q.pending {
		delete(q.pending, id)
		close(waiting)
	}
}

func (q *questions) ask(ctx context.Context, question *driverv1.ServicesResponse) (*driverv1.ServicesRequest, error) {
	select {
	case q.places <- struct{}{}:
		defer func() { <-q.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	stream, waiting, err := q.open(ctx, question)
	if err != nil {
		return nil, err
	}
	q.sending.Lock()
	err = stream.Send(question)
	q.sending.Unlock()
	if err != nil {
		q.forget(question.GetId())
		return nil, &driver.Error{Code: driver.NotConnected, Text: "ask the core: " + err.Error(), Err: err}
	}
	select {
	case answer, ok := <-waiting:
		if !ok {
			return nil, driver.Errorf(driver.NotConnected, "ask the core: it went away before it answered")
		}
		if fault := answer.GetFault(); fault != nil {
			return nil, wire.DecodeFault(fault)
		}
		return answer, nil
	case <-ctx.Done():
		q.forget(question.GetId())
		return nil, ctx.Err()
	}
}

// open waits for a core and reserves a place for the answer.
func (q *questions) open(ctx context.Context, question *driverv1.ServicesResponse) (servicesServer, chan *driverv1.ServicesRequest, error) {
	for {
		q.mu.Lock()
		if q.stream != nil {
			defer q.mu.Unlock()
			q.last++
			question.Id = q.last
			waiting := make(chan *driverv1.ServicesRequest, 1)
			q.pending[question.Id] = waiting
			return q.stream, waiting, nil
		}
		arrived := q.arrived
		q.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (q *questions) forget(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}
