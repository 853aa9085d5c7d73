package modbus

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// A line is a link's way to its devices: at most one connection at a time, which is opened when
// a call needs it and again when it has come to an end. A connection that ends while nobody
// waits for an answer is nobody's fault and is not told.
type line struct {
	dial    func(ctx context.Context) (carrier.Conn, error)
	framing framing
	env     driver.Env
	timeout time.Duration // of one request, and of connecting
	window  int
	pause   time.Duration // after connecting
	idle    time.Duration // after which an unused connection is closed; 0: never
	pace    *pace
	frames  bool          // every read of the connection is one frame: datagrams
	char    time.Duration // of a character on a serial line; 0: it is none

	opening chan struct{} // full while somebody connects

	mu     sync.Mutex // guards what follows
	wire   *wire      // nil: there is none
	users  int        // calls that have the wire
	closed bool
	closer *time.Timer // closes the wire that nobody uses
}

// use returns the wire for a call, which gives it back with leave. It connects where there is
// none, or where the other side has ended it.
func (l *line) use(ctx context.Context) (*wire, error) {
	if w, err := l.join(); w != nil || err != nil {
		return w, err
	}
	select {
	case l.opening <- struct{}{}:
		defer func() { <-l.opening }()
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if w, err := l.join(); w != nil || err != nil {
		return w, err // another has connected meanwhile
	}
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close() // nobody has seen it
		return nil, errClosed
	}
	l.wire = newWire(conn, l)
	l.users = 1
	return l.wire, nil
}

var errClosed = driver.Errorf(driver.NotConnected, "use the link: %w", net.ErrClosed)

// join takes the wire that there is; nil: there is none that can be used.
func (l *line) join() (*wire, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if l.wire == nil {
		return nil, nil
	}
	if l.users == 0 {
		l.stopCloser()
	}
	if l.wire.over(l.users == 0) {
		l.wire = nil // whoever has it gives it back, and its end is told to them
		l.users = 0
		return nil, nil
	}
	l.users++
	return l.wire, nil
}

// connect opens a connection, and waits for as long as the other side needs.
func (l *line) connect(ctx context.Context) (carrier.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	conn, err := l.dial(dialing)
	if err != nil {
		return nil, driver.Errorf(driver.CodeOf(err), "modbus: %w", err)
	}
	l.env.Count("connections", 1)
	if l.pause > 0 {
		wait := time.NewTimer(l.pause)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			_ = conn.Close() // nobody has seen it
			return nil, ended(ctx)
		}
	}
	return conn, nil
}

// leave gives a wire back.
func (l *line) leave(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w != l.wire {
		return // it has ended, and another took its place
	}
	if l.users--; l.users > 0 || l.idle == 0 || l.closed {
		return
	}
	if l.closer == nil {
		l.closer = time.AfterFunc(l.idle, l.closeIdle)
	} else {
		l.closer.Reset(l.idle)
	}
}

// stopCloser keeps the wire. The caller holds mu.
func (l *line) stopCloser() {
	if l.closer != nil {
		l.closer.Stop()
	}
}

// closeIdle closes a wire that nobody has used for long.
func (l *line) closeIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 && l.wire != nil {
		l.wire.shut("use the connection", errIdle)
		l.wire = nil
	}
}

var errIdle = errors.New("it was closed after a time without use")

// close ends the line for good; a call in flight fails at once.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.stopCloser()
	if l.wire != nil {
		l.wire.shut("use the link", net.ErrClosed)
	}
}

// onLine is how long a request and its answer take on a serial line.
func (l *line) onLine(adu []byte) time.Duration {
	if l.char == 0 {
		return 0
	}
	n := len(adu)
	if p, err := l.framing.packager(l.framing.unit(adu)).Decode(adu); err == nil {
		n += l.framing.answerSize(p)
	}
	return time.Duration(n) * l.char
}

// longest is how long the silence before a request and the largest answer to it take.
func (l *line) longest() time.Duration {
	frame := maxRTU
	if _, text := l.framing.(ascii); text {
		frame = maxASCII
	}
	return l.pace.least + time.Duration(2*frame)*l.char
}

// A pace keeps a time of silence between the end of an exchange and the next request, over all
// connections of a line: a gap that the configuration asks for, or what a serial line needs
// between two frames.
type pace struct {
	least time.Duration // 0: none

	asked atomic.Bool // more silence than the usual was asked for
	mu    sync.Mutex
	until time.Time
}

// kept reports whether there is any silence to keep.
func (p *pace) kept() bool { return p.least > 0 || p.asked.Load() }

// ended notes the end of an exchange: an answer, or a wait in vain. more is silence beyond the
// usual.
func (p *pace) ended(at time.Time, more time.Duration) {
	if p.least <= 0 && more <= 0 {
		return
	}
	if more > p.least {
		p.asked.Store(true)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := at.Add(max(p.least, more)); until.After(p.until) {
		p.until = until
	}
}

// wait returns when a request may be sent.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	left := time.Until(p.until)
	p.mu.Unlock()
	if left <= 0 {
		return nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
