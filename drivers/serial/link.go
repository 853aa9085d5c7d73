package serial

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// link is an open port. Its reader takes every line as it comes, whether or not
// somebody waits for it.
type link struct {
	name    string
	log     *slog.Logger
	env     driver.Env
	set     *linkSettings
	timeout time.Duration
	late    time.Duration
	port    carrier.Conn
	bytes   syscall.RawConn // of the port, where its bytes are those of the wire; else nil

	lost      chan struct{}
	lostOnce  sync.Once
	lostErr   error // why; valid once lost is closed
	closeOnce sync.Once
	closeErr  error
	cancel    func()
	workers   sync.WaitGroup

	heard chan heardLine // lines for listeners

	mu        sync.Mutex
	framer    framer
	sent      uint64 // requests so far
	pending   *pending
	owed      []owed
	arrived   chan struct{} // an owed line came
	listeners []*subscription
	dropped   uint64
}

var _ driver.Link = (*link)(nil)

// heardLines is how many lines can wait for the listeners; at most max_line each.
const heardLines = 256

// heardLine is a line for the listeners, and when it came.
type heardLine struct {
	text  string
	wrong string // see line.wrong
	at    time.Time
	to    []*subscription // the listeners when it came
}

// open opens a port and starts its reader.
func open(ctx context.Context, cfg driver.LinkConfig, set *linkSettings, env driver.Env) (driver.Link, error) {
	dialing, stop := context.WithTimeout(ctx, cfg.Timeout)
	defer stop()
	port, err := carrier.Open(dialing, set.address, env)
	if err != nil {
		return nil, err
	}
	if err := set.wake(ctx, port); err != nil {
		_ = port.Close() // why it is given up is known already
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{
		name: cfg.Name, log: log, env: env, set: set, timeout: cfg.Timeout, late: cfg.Timeout, port: port, cancel: cancel,
		lost: make(chan struct{}), heard: make(chan heardLine, heardLines), arrived: make(chan struct{}, 1),
		framer: set.newFramer(),
	}
	if c, ok := port.(syscall.Conn); ok {
		if l.bytes, err = c.SyscallConn(); err != nil {
			cancel()
			return nil, errors.Join(driver.Errorf(driver.NotConnected, "read %s: %w", set.Port, err), port.Close())
		}
	}
	if set.Late != nil {
		l.late = time.Duration(*set.Late)
	}
	l.workers.Go(l.read)
	l.workers.Go(func() { l.tellListeners(ctx) })
	return l, nil
}

// Device compiles a device.
func (l *link) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	d, err := parseDevice(cfg, l.set)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.lost:
		return nil, l.cause()
	default:
	}
	d.link = l
	if d.listens() {
		return listening{d}, nil
	}
	return polled{d}, nil
}

// Close gives the port back.
func (l *link) Close(context.Context) error {
	l.closeOnce.Do(func() {
		l.lose(driver.Errorf(driver.NotConnected, "link %s is closed", l.name))
		l.cancel()
		l.closeErr = l.port.Close() // ends the reader, and a write in flight
		l.workers.Wait()
		l.leave()
	})
	return l.closeErr
}

// lose ends the link's life; the first call counts.
func (l *link) lose(err error) {
	l.lostOnce.Do(func() {
		l.lostErr = err
		close(l.lost)
	})
}

func (l *link) cause() error {
	<-l.lost
	return l.lostErr
}

// read is the reader. Where it can, it takes bytes from the port with mu held, so that whoever
// holds mu knows that no byte is on its way between the port and the framer.
func (l *link) read() {
	for {
		if err := l.readSome(); err != nil {
			l.lose(driver.Errorf(driver.NotConnected, "read %s: the port is gone: %w", l.set.Port, err))
			return
		}
	}
}

// readSome waits for bytes and feeds them. Frames that end with silence end when none come.
func (l *link) readSome() error {
	idle := l.idleFrame()
	if idle > 0 {
		_ = l.port.SetReadDeadline(time.Now().Add(idle)) // fails only when closed; so does the read
	}
	err := l.readBytes()
	if idle > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = l.port.SetReadDeadline(time.Time{})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.framer.quiet(l.take)
		return nil
	}
	return err
}

// idleFrame is how long the line has to be silent for the frame that has begun to end; 0: that
// does not end it, or none has.
func (l *link) idleFrame() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.framer.begun() {
		return 0
	}
	return l.framer.idle()
}

func (l *link) readBytes() error {
	if l.bytes == nil {
		var buf [4096]byte
		n, err := l.port.Read(buf[:])
		if n > 0 {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.feed(buf[:n])
			return nil
		}
		return err
	}
	var readErr error
	err := l.bytes.Read(func(fd uintptr) (done bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		var more bool
		more, readErr = l.drain(int(fd))
		return more || readErr != nil || l.framer.idle() > 0 && l.framer.begun() // otherwise it is called again when more has come
	})
	return errors.Join(readErr, err)
}

// feed gives bytes to the framer. It is called with mu held.
func (l *link) feed(b []byte) {
	if driver.Debugs(l.log) {
		l.logReceived(b)
	}
	l.framer.feed(b, l.sent, l.take)
}

// drainMost is how many reads are made in one go, so that an instrument that never
// stops talking does not keep others from mu.
const drainMost = 16

// drain takes what the port has; more tells that there may be more. It is called with mu held.
func (l *link) drain(fd int) (more bool, err error) {
	if fd < 0 {
		return false, nil // the reader takes them
	}
	var buf [4096]byte
	for range drainMost {
		n, err := unix.Read(fd, buf[:])
		switch {
		case n > 0:
			l.feed(buf[:n])
		case err == nil:
			return false, io.EOF // a port that hung up
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, err
		}
	}
	return true, nil
}

// logReceived logs bytes as they come: in the midst of a line too, and without a device where
// nobody waits. It is called with mu held.
func (l *link) logReceived(b []byte) {
	device := ""
	if l.pending != nil {
		device = l.pending.device
	}
	driver.LogBytes(l.log, "received", device, b)
}

// take decides what a line is. It is called with mu held and must not wait.
func (l *link) take(in line) {
	if p := l.pending; p != nil && in.began == l.sent && p.offer(in) {
		l.pending = nil
		return
	}
	if in.long {
		l.log.Debug(whyLong, "link", l.name)
		for _, s := range l.listeners { // whose it was nobody knows
			l.env.Lost(driver.Loss{Device: s.device, From: time.Now(), To: time.Now(), Cause: whyLong})
		}
		return
	}
	for i := range l.owed {
		if in.wrong == "" && l.owed[i].is(in.text) {
			l.owed = append(l.owed[:i], l.owed[i+1:]...)
			select {
			case l.arrived <- struct{}{}:
			default:
			}
			return
		}
	}
	if len(l.listeners) == 0 {
		return
	}
	select {
	case l.heard <- heardLine{in.text, in.wrong, time.Now(), l.listeners}:
	default:
		l.dropped++
		for _, s := range l.listeners {
			s.lose(in.text, time.Now(), whyFull)
		}
	}
}
