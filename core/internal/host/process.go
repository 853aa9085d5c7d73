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
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
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

// A Process is a running driver. Its methods may be called concurrently. Every call of
// control.Plane has a deadline, and fails with ErrExited in its tree when the process is dead.
type Process struct {
	*calls
	command  Command
	run      running
	identity wire.Identity
	dir      string // of its socket and files; empty: it is not the core's

	recording sync.Mutex
	record    wire.Record

	attachments
	released atomic.Bool
	alive    context.Context    // ends with the process, or by letGo
	letGo    context.CancelFunc // ends what work does
	work     sync.WaitGroup
}

var _ control.Plane = (*Process)(nil)

// newHandle returns a Process, whose life ends with the process or by letGo.
func newHandle(c Command, run running, conn *grpc.ClientConn, id wire.Identity) *Process {
	p := &Process{
		calls:   &calls{name: c.Name, pid: id.PID, conn: conn, rpc: driverv1.NewDriverServiceClient(conn), life: run.state()},
		command: c, run: run, identity: id,
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

// serveQuestions answers what the driver asks, while the process lives.
func (p *Process) serveQuestions() {
	a := &answerer{rpc: p.rpc, services: p.command.Services, log: p.command.Log, pid: p.PID(), stopping: &p.stopping}
	p.work.Go(func() { a.serve(p.alive) })
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

// Identity is what another process needs to speak to this driver process. It holds a private
// key.
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

// Stop ends the process, and returns when nothing is left of it: no child, no file, no
// goroutine. It asks first, and the driver closes its links; if that takes too long, or longer
// than ctx, it kills. To lose no sample, Drain and take what Attach still brings before. It is
// safe to call twice, and concurrently. A process that another core has taken, or that somebody
// started by hand, is only let go.
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

// askExit asks the process to exit and reports whether it is worth waiting.
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
