package plugin

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// maxPending bounds the questions on the wire; further ones wait. Together
	// they fit into the stream's window, so that a Send does not wait for the core.
	maxPending  = 64
	maxKeyBytes = 256
	maxValue    = 64 << 10
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
			return nil, faultFromWire(fault)
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

// store is driver.Env.Store of one link.
type store struct {
	questions *questions
	link      string
}

var _ driver.Store = (*store)(nil)

// Get asks the core for the value of key.
func (s *store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	answer, err := s.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_StoreGet{
		StoreGet: &driverv1.StoreGet{Link: s.link, Key: key},
	}})
	if err != nil {
		return nil, err
	}
	got := answer.GetStoreGot()
	if got == nil {
		return nil, driver.Errorf(driver.Protocol, "get %q: the core answered another question", key)
	}
	return got.Value, nil
}

// Put has the core keep value; it returns when it is durable.
func (s *store) Put(ctx context.Context, key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) > maxValue {
		return driver.Errorf(driver.BadValue, "put %q: %d bytes, at most %d are kept", key, len(value), maxValue)
	}
	answer, err := s.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_StorePut{
		StorePut: &driverv1.StorePut{Link: s.link, Key: key, Value: value},
	}})
	if err == nil && answer.GetStoreDone() == nil {
		err = driver.Errorf(driver.Protocol, "put %q: the core answered another question", key)
	}
	return err
}

func checkKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return driver.Errorf(driver.BadValue, "store key of %d bytes: 1 to %d are allowed", len(key), maxKeyBytes)
	}
	return nil
}
