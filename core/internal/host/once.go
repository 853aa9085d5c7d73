package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
)

// once makes a call that does something to a device. Its error has driver.ErrNotSent in its
// tree where the request is known not to have left this process. gRPC does not say that of a
// unary call, so this is one as a stream of one message each way, which is the same on the
// wire.
func once(ctx context.Context, c *calls, name, method string, request, response any) error {
	ctx, cancel := within(ctx)
	defer cancel()
	if isClosed(c.life.done) {
		return notSent(c.dead(name))
	}
	if !c.deeds.begin() {
		return notSent(driver.Errorf(driver.NotConnected, "%s: driver process %d is being stopped", name, c.pid))
	}
	defer c.deeds.end()
	left, err := exchange(ctx, c.conn, method, request, response)
	if err == nil {
		return nil
	}
	if err = c.fault(ctx, name, err); !left {
		return notSent(err)
	}
	return err
}

// exchange sends one request and waits for its answer. left reports whether the request
// was handed to the connection.
func exchange(ctx context.Context, conn grpc.ClientConnInterface, method string, request, response any) (left bool, err error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, method)
	if err != nil {
		return false, err
	}
	sent := stream.SendMsg(request)
	if sent != nil && !errors.Is(sent, io.EOF) {
		return false, sent
	}
	if sent == nil {
		_ = stream.CloseSend() // never fails; the answer says how it went
	}
	return sent == nil, stream.RecvMsg(response)
}

// notSent adds to an error that nothing was sent. What its code says of the device is not
// known then.
func notSent(err error) error {
	e := driver.AsError(err)
	return &driver.Error{Code: driver.NotConnected, Text: e.Text, Err: fmt.Errorf("%w: %w", driver.ErrNotSent, err)}
}

// deeds are the calls in hand that do something to a device. One that began is let end
// before the process is asked to exit: cut off, nobody would know whether it was done.
type deeds struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when none is in hand; nil: more may begin
}

// begin reports whether one may begin; end is called when it has ended.
func (d *deeds) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle != nil {
		return false
	}
	d.n++
	return true
}

func (d *deeds) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n--; d.n == 0 && d.idle != nil {
		close(d.idle)
	}
}

// stop lets no more begin. The channel is closed when none is in hand.
func (d *deeds) stop() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle == nil {
		d.idle = make(chan struct{})
		if d.n == 0 {
			close(d.idle)
		}
	}
	return d.idle
}
