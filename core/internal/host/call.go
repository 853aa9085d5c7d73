package host

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// callLimit is the deadline of a call whose context has none.
const callLimit = 10 * time.Second

// call makes one unary call with a deadline. The response is the zero one, and
// never nil to its getters, after an error.
func call[Q, R any](ctx context.Context, c *calls, name string,
	rpc func(context.Context, *Q, ...grpc.CallOption) (*R, error), request *Q) (*R, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	r, err := rpc(ctx, request)
	if err != nil {
		return nil, c.fault(ctx, name, err)
	}
	return r, nil
}

// within gives a context that has no deadline that of a call.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callLimit)
}

// fault makes the error of a call one of the contract, and says so when the reason is
// that the process is dead.
func (c *calls) fault(ctx context.Context, name string, err error) error {
	ended := ctx.Err() // before the wait for a death
	lost := status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled && ended == nil
	if !lost || wire.Answered(err) || !c.dies(ctx) {
		return wire.FaultOf(err, ended)
	}
	return c.dead(name)
}

// dead is the error of a call to a process that is dead.
func (c *calls) dead(name string) *driver.Error {
	return &driver.Error{
		Code: driver.NotConnected, Err: wire.ErrExited,
		Text: fmt.Sprintf("%s: driver process %d is dead: %v", name, c.pid, c.life.exit),
	}
}

// dies reports whether the end of a connection is that of the process: the kernel tells of the
// former first.
func (c *calls) dies(ctx context.Context) bool {
	grace := deathGrace
	if c.stopping.Load() {
		grace, ctx = exitLimit+killLimit, context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	select {
	case <-c.life.done:
		return true
	case <-ctx.Done():
		return isClosed(c.life.done)
	}
}

// deathGrace is how long the end of a connection waits for the news of a death, which says
// what the connection's end does not: a process seldom lets go of its socket otherwise. On a
// busy machine the news takes its time.
const deathGrace = 2 * time.Second
