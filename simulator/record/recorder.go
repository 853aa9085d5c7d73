package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A Recorder stands between a gateway and a device. Each connection to it is one to the device,
// and what passes is written as it does, so that a recording that ends in any way is whole up
// to there.
type Recorder struct {
	Of   string // the device
	Form Form
	// Dial connects to the device, once for each connection of the gateway.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// To takes the recording.
	To io.Writer

	mu    sync.Mutex
	began time.Time
	conns int
	steps int
	bytes int
	err   error // of writing, or that it is full; the connections go on
}

// Serve takes connections from l until ctx ends, and returns what kept it from recording all.
func (r *Recorder) Serve(ctx context.Context, l net.Listener) error {
	r.began = time.Now()
	if err := (&Recording{Of: r.Of, Form: r.Form}).Write(r.To); err != nil {
		return err
	}
	var serving sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // Accept tells
	defer stop()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			continue // one that went at once
		}
		serving.Go(func() { r.Between(ctx, c) })
	}
	serving.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Line records the one connection of a line that has no others, until either side ends it or ctx
// does.
func (r *Recorder) Line(ctx context.Context, gateway io.ReadWriteCloser) error {
	r.began = time.Now()
	if err := (&Recording{Of: r.Of, Form: r.Form}).Write(r.To); err != nil {
		return err
	}
	r.Between(ctx, gateway)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Between carries one connection to the device, until either side ends it or ctx does.
func (r *Recorder) Between(ctx context.Context, gateway io.ReadWriteCloser) {
	defer gateway.Close()
	device, err := r.Dial(ctx)
	if err != nil {
		return // the gateway sees the end, as it would of the device
	}
	defer device.Close()
	r.mu.Lock()
	r.conns++
	number := r.conns
	r.mu.Unlock()
	end := func() { _ = gateway.Close(); _ = device.Close() }
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { r.carry(number, true, device, gateway); end() })
	both.Go(func() { r.carry(number, false, gateway, device); end() })
	both.Wait()
}

func (r *Recorder) carry(conn int, sent bool, to io.Writer, from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.note(&Step{Conn: conn, Sent: sent, Data: buf[:n]})
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *Recorder) note(s *Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	s.At = time.Since(r.began)
	r.steps++
	if r.bytes += len(s.Data); r.steps > maxSteps || r.bytes > maxBytes {
		r.err = fmt.Errorf("the recording is full at %d steps: what came later is not in it", r.steps-1)
		return
	}
	if _, err := io.WriteString(r.To, s.line()); err != nil {
		r.err = fmt.Errorf("write the recording: %w", err)
	}
}

// Steps is how many steps were recorded.
func (r *Recorder) Steps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.steps
}
