package host

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// callLimit is the deadline of a call whose context has none.
	callLimit = 10 * time.Second
	// askLimit is how long Stop waits for the answer to its request; a process that
	// is alive gives it at once. exitLimit is how long it may then take to close, and
	// before that the calls in hand may take to end.
	askLimit  = time.Second
	exitLimit = 4 * time.Second
	// killLimit is how long the kernel may take over a SIGKILL.
	killLimit = 5 * time.Second
)

// shutdownMethod is go-plugin's own way to ask a process to exit.
const shutdownMethod = "/plugin.GRPCController/Shutdown"

// A Process is a running driver. Its methods may be called concurrently. Every
// call of control.Plane has a deadline, and fails with ErrExited in its
// tree when the process is dead.
type Process struct {
	command   Command
	run       running
	life      *life
	conn      *grpc.ClientConn
	rpc       driverv1.DriverServiceClient
	identity  wire.Identity
	dir       string // of its socket and files; empty: it is not the core's
	described control.Description

	recording sync.Mutex
	record    wire.Record

	attachments
	deeds    deeds
	stopping atomic.Bool
	released atomic.Bool
	alive    context.Context    // ends with the process, or by letGo
	letGo    context.CancelFunc // ends what work does
	work     sync.WaitGroup
}

var _ control.Plane = (*Process)(nil)

// newHandle returns a Process, whose life ends with the process or by letGo.
func newHandle(c Command, run running, conn *grpc.ClientConn, id wire.Identity) *Process {
	p := &Process{
		command: c, run: run, life: run.state(), conn: conn, rpc: driverv1.NewDriverServiceClient(conn), identity: id,
	}
	p.alive, p.letGo = context.WithCancel(context.Background())
	p.work.Go(func() {
		select {
		case <-p.life.done:
		case <-p.alive.Done():
		}
		p.letGo()
		_ = conn.Close()
	})
	return p
}

// abandon lets go of a process that is not to be used. p may be nil.
func (p *Process) abandon() {
	if p == nil {
		return
	}
	p.letGo()
	p.work.Wait()
}

// PID is the number of the process. It is valid until Done is closed.
func (p *Process) PID() int { return p.identity.PID }

// Dir is the directory that the process has for its socket and its files; empty: it has none
// from a core.
func (p *Process) Dir() string { return p.dir }

// Description is what the driver said of itself when it started.
func (p *Process) Description() control.Description { return p.described }

// Identity is what another process needs to speak to this driver process. It
// holds a private key.
func (p *Process) Identity() wire.Identity { return p.identity }

// Done is closed when the process is dead. Release does not close it.
func (p *Process) Done() <-chan struct{} { return p.life.done }

// Exit tells how the process ended. It is the zero Exit before Done is closed.
func (p *Process) Exit() Exit {
	select {
	case <-p.life.done:
		return p.life.exit
	default:
		return Exit{}
	}
}

// Stop ends the process, and returns when nothing is left of it: no child, no file,
// no goroutine. It asks first, and the driver closes its links; if that takes
// too long, or longer than ctx, it kills. To lose no sample, Drain and take what
// Attach still brings before. It is safe to call twice, and concurrently. A
// process that another core has taken, or that somebody started by hand, is only
// let go.
func (p *Process) Stop(ctx context.Context) error {
	switch {
	case p.released.Load():
		return nil
	case p.record.Hand, p.record.PID != 0 && p.taken() && !isClosed(p.life.done):
		return p.Release()
	}
	p.letDeedsEnd(ctx)
	p.stopping.Store(true)
	if p.askExit(ctx) {
		limit := time.NewTimer(exitLimit)
		defer limit.Stop()
		select {
		case <-p.life.done:
		case <-limit.C:
		case <-ctx.Done():
		}
	}
	p.run.kill()
	limit := time.NewTimer(killLimit)
	defer limit.Stop()
	select {
	case <-p.life.finished:
	case <-limit.C:
		// It is stuck in the kernel, in a device's driver perhaps. Its goroutines
		// stay until it comes out.
		p.letGo()
		if isClosed(p.life.done) {
			return fmt.Errorf("stop driver %s: process %d is dead, and what it left is still being removed", p.command.Name, p.PID())
		}
		return fmt.Errorf("stop driver %s: process %d does not die", p.command.Name, p.PID())
	}
	p.work.Wait()
	return nil
}

// letDeedsEnd lets no more reads and writes begin, and waits for those in hand.
func (p *Process) letDeedsEnd(ctx context.Context) {
	limit := time.NewTimer(exitLimit)
	defer limit.Stop()
	select {
	case <-p.deeds.stop():
	case <-p.life.done:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// askExit asks the process to exit and tells whether it is worth waiting.
func (p *Process) askExit(ctx context.Context) bool {
	select {
	case <-p.life.done:
		return false
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	err := p.conn.Invoke(ctx, shutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		return ctx.Err() == nil
	case codes.Unimplemented: // a driver without go-plugin
		return p.run.signal(syscall.SIGTERM) == nil
	default: // the connection ends with the answer, or before it
		return true
	}
}

// call makes one unary call with a deadline. The response is the zero one, and
// never nil to its getters, after an error.
func call[Q, R any](ctx context.Context, p *Process, name string,
	rpc func(context.Context, *Q, ...grpc.CallOption) (*R, error), request *Q) (*R, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	r, err := rpc(ctx, request)
	if err != nil {
		return nil, p.fault(name, err, ctx.Err())
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
func (p *Process) fault(name string, err, ctxErr error) error {
	lost := status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled && ctxErr == nil
	if !lost || !p.dies() {
		return wire.FaultOf(err, ctxErr)
	}
	return p.dead(name)
}

// dead is the error of a call to a process that is dead.
func (p *Process) dead(name string) *driver.Error {
	return &driver.Error{
		Code: driver.NotConnected, Err: wire.ErrExited,
		Text: fmt.Sprintf("%s: driver process %d is dead: %v", name, p.PID(), p.life.exit),
	}
}

// dies tells whether the end of a connection is that of the process: the kernel
// often tells of the former first.
func (p *Process) dies() bool {
	grace := deathGrace
	if p.stopping.Load() {
		grace = exitLimit + killLimit
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-p.life.done:
		return true
	case <-limit.C:
		return false
	}
}

// deathGrace is how long the end of a connection waits for the news of a death.
const deathGrace = 50 * time.Millisecond
