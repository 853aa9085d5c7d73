package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// handOutLast hands out what is an answer only because nothing follows it.
func (w *wire) handOutLast() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	skip, size := w.framing.last(w.in[w.head:w.tail], w.awaited())
	if size == 0 {
		return false
	}
	frame := w.in[w.head+skip : w.head+skip+size]
	w.head, w.tail, w.halfAt = 0, 0, time.Time{}
	w.deliver(frame, w.flying[0].owner)
	return true
}

// nothingValid tells silence on a serial line from what is no answer.
func (w *wire) nothingValid(c *caller, silence *driver.Error) *driver.Error {
	got, asked := w.in[w.head:w.tail], c.sent[0].request.adu
	n := c.passed + len(got)
	switch {
	case n == 0:
		return silence
	case n == len(got) && bytes.Equal(got, asked):
		silence.Text += "; only the echo of the request"
		return silence
	}
	driver.LogBytes(w.log, "received what is no answer", c.sent[0].request.device, got)
	fault := &driver.Error{Code: driver.Protocol, Err: silence.Err}
	if unit, ok := w.framing.stranger(got, asked); ok {
		fault.Text = fmt.Sprintf("unit %d answered where unit %d was asked", unit, w.framing.unit(asked))
	} else {
		fault.Text = fmt.Sprintf("%d bytes within %v, none of them an answer of the unit and the function that were asked, with a good checksum", n, w.timeout)
	}
	return fault
}

// awaitOwed waits for an answer that did not come in time, where what comes could be taken for
// the answer to adu: on a serial line they have no numbers.
func (w *wire) awaitOwed(ctx context.Context, adu []byte) error {
	o := w.owed
	if o == nil || !time.Now().Before(o.until) {
		w.owed = nil
		return nil
	}
	if !w.alike(o.adu, adu) {
		return nil
	}
	by := o.until
	if end, ok := ctx.Deadline(); ok && end.Before(by) {
		by = end
	}
	defer context.AfterFunc(ctx, w.wake)()
	for {
		if skip, size, _ := w.framing.next(w.in[w.head:w.tail], o.adu); size > 0 {
			driver.LogBytes(w.log, "received too late", "", w.in[w.head+skip:w.head+skip+size])
			w.owed, w.head, w.tail = nil, 0, 0
			w.line.pace.ended(time.Now(), 0)
			return nil
		}
		w.makeRoom()
		w.expectBy(by)
		if ctx.Err() != nil {
			return ended(ctx)
		}
		n, err := w.conn.Read(w.in[w.tail:])
		w.tail += n
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return w.lost("read", err)
		case ctx.Err() != nil:
			return ended(ctx)
		case !time.Now().Before(o.until):
			w.owed = nil
			return nil
		}
	}
}

// alike reports whether the answers to two requests could be taken for each other: they are of
// one unit and one function. Their sizes may differ: that of an exception is always the same.
func (w *wire) alike(a, b []byte) bool {
	f := w.framing
	return f.function(a) == f.function(b) && (f.unit(a) == f.unit(b) || f.lenient().unit)
}
