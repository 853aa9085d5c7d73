package carrier

import (
	"context"
	"net"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A Conn is an open carrier. Its methods may be called concurrently as those of a net.Conn may;
// a Read whose deadline has passed fails with os.ErrDeadlineExceeded on every carrier. Over UDP
// a Read takes one datagram, and what does not fit the slice is thrown away.
type Conn interface {
	net.Conn

	// Discard throws away what has arrived and was not read, without waiting. No Read may be
	// in flight.
	Discard() error
	// Ended reports, without waiting, whether the other side has closed the connection or the
	// port has gone, so that nothing is sent into it. It takes nothing of what has arrived.
	// No Read may be in flight.
	Ended() bool
}

// Open connects, or opens the port. ctx bounds it. Errors are driver.Errors: NotConnected where
// it is worth another try, InvalidConfig and Denied where it is not.
func Open(ctx context.Context, a *Address, env driver.Env) (Conn, error) {
	switch a.scheme {
	case schemeSerial:
		return openPort(a)
	case schemeRFC2217:
		return openRFC2217(ctx, a, env)
	case schemeTLS:
		return dialTLS(ctx, a, env)
	}
	conn, err := dial(ctx, a)
	if err != nil {
		return nil, err
	}
	return socket{conn}, nil
}

// Pause waits for as long as the settings say that the other side needs after connecting.
func (a *Address) Pause(ctx context.Context) error {
	return sleep(ctx, time.Duration(a.PauseAfterConnect))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
