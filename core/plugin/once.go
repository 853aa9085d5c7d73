package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/driver"
)

// once makes a call that does something to a device. Its error has driver.ErrNotSent in its
// tree where the request is known not to have left this process. gRPC does not say that
// of a unary call, so this is one as a stream of one message each way, which
// is the same on the wire.
func once(ctx context.Context, p *Process, name, method string, request, response any) error {
	ctx, cancel := within(ctx)
	defer cancel()
	if isClosed(p.life.done) {
		return notSent(p.dead(name))
	}
	left, err := exchange(ctx, p.conn, method, request, response)
	if err == nil {
		return nil
	}
	if err = p.fault(name, err, ctx.Err()); !left {
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
