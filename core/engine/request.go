package engine

import (
	"context"
	"errors"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const maxBrowse = 10_000

type askKind uint8

const (
	askWrite askKind = iota
	askRead
	askBrowse
	askTrial    // of a device that may be off line: see Check
	askDiscover // of the link itself
)

// A request is one on-demand call, from the queue to its answer.
type request struct {
	kind   askKind
	d      *device
	points []driver.Point
	value  driver.Value
	prefix string
	most   int
	at     int64 // when it came, on the grid

	candidate driver.Candidate // of a discovery

	done    chan struct{} // closed with the answer:
	err     error
	samples []driver.Sample
	entries []driver.Entry
	of      int               // how many candidates there are
	source  driver.Subscriber // of a trial: to be subscribed to ...
	session *session          // ... in this session, which waits for it
}

// limit bounds the driver call.
func (q *request) limit(l limits) time.Duration {
	switch q.kind {
	case askWrite, askTrial:
		return l.write()
	case askBrowse:
		return l.read(64)
	case askDiscover:
		return q.candidate.Patience + l.call + l.request
	default:
		return l.read(len(q.points))
	}
}

// queue is the place among the link's queues.
func (k askKind) queue() int {
	switch k {
	case askWrite:
		return 0
	case askTrial:
		return 2
	case askDiscover:
		return 3
	default:
		return 1
	}
}

// run makes the driver call, without the lock. What it gives stays in the runner
// until the call is settled, because an abandoned one may come back at any time.
func (q *request) run(ctx context.Context, r *runner) (err error) {
	d := r.job.d
	switch {
	case q.kind == askDiscover:
		return q.discover(ctx, r)
	case q.kind == askTrial:
		r.source, err = tryOne(ctx, r.session.link, d)
		return err
	case q.kind == askWrite && r.handle.writer == nil:
		return driver.Errorf(driver.Unsupported, "device %s takes no writes", d.spec.Name)
	case q.kind == askWrite:
		return r.handle.writer.Write(ctx, q.points[0], q.value)
	case q.kind == askBrowse && r.handle.browser == nil:
		return driver.Errorf(driver.Unsupported, "device %s cannot list its addresses", d.spec.Name)
	case q.kind == askBrowse:
		r.entries, err = r.handle.browser.Browse(ctx, q.prefix, q.most)
		return err
	}
	if r.handle.reader == nil && r.handle.preparer == nil {
		return driver.Errorf(driver.Unsupported, "device %s only sends by itself: it cannot be read on demand", d.spec.Name)
	}
	if r.handle.reader != nil {
		return r.handle.reader.Read(ctx, q.points, r.samples)
	}
	compiled, err := r.handle.preparer.Prepare(q.points)
	if err != nil {
		return err
	}
	if compiled == nil {
		return driver.Errorf(driver.Internal, "device %s prepared nothing and gave no error", d.spec.Name)
	}
	return compiled.Read(ctx, q.points, r.samples)
}

// await waits for the answer. A call that has begun goes on when ctx ends: a write that is
// on the wire cannot be taken back. withdraw takes the request off, if it has not begun.
func (q *request) await(ctx context.Context, link string, withdraw func() bool) error {
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
	}
	switch waited := withdraw(); {
	case waited:
		return driver.Errorf(driver.CodeOf(ctx.Err()), "%w: link %s had no time for it: %w", driver.ErrNotSent, link, ctx.Err())
	case q.kind == askTrial:
		<-q.done // it may have a subscription to give back
		return q.err
	case q.answered():
		return q.err
	case q.kind == askWrite:
		return driver.Errorf(driver.CodeOf(ctx.Err()), "no answer in time: the value may have been written: %w", ctx.Err())
	}
	return driver.Errorf(driver.CodeOf(ctx.Err()), "no answer in time: %w", ctx.Err())
}

// answered reports whether the answer has come.
func (q *request) answered() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// unsent is the error of a request that is not sent to the device, for the fault that
// keeps it from that. What the fault says of another call it does not say of this one.
func unsent(fault *driver.Error) *driver.Error {
	err := &driver.Error{Code: fault.Code, Text: fault.Text, After: fault.After, Err: errors.Join(driver.ErrNotSent, fault)}
	if driver.MayBeDone(fault) {
		err.Code, err.After = driver.NotConnected, 0
	}
	return err
}

var errChanged = &driver.Error{Code: driver.NotConnected, Text: "the configuration has just changed: ask again"}

func orUnknown(cause *driver.Error) *driver.Error {
	if cause == nil {
		return errStopped
	}
	return cause
}

// answer answers the caller. samples are the raw ones of a read.
func (q *request) answer(samples []driver.Sample, entries []driver.Entry, fault *driver.Error, now time.Time) {
	if fault != nil {
		q.err = fault
	} else {
		q.samples, q.entries = q.fresh(samples, now), entries
	}
	close(q.done)
}

// tried answers the caller of a trial. What is to be subscribed to belongs to the session
// of the call, if that goes on.
func (q *request) tried(r *runner, fault *driver.Error, present bool) {
	switch {
	case fault != nil:
		q.err = fault
	case r.source == nil:
	case present && !r.session.broken && !r.session.closing:
		q.source, q.session = r.source, r.session
		r.session.subs++
	default:
		q.err = errStopped
	}
	close(q.done)
}

// fresh makes the caller's samples of a read's raw ones.
func (q *request) fresh(samples []driver.Sample, now time.Time) []driver.Sample {
	out := make([]driver.Sample, len(samples))
	for i, s := range samples {
		mend(&s, nil)
		if s.Time.IsZero() {
			s.Time = now
		}
		if shapes := q.d.table.shapes; shapes != nil {
			s.Value = shapes[q.points[i].Index].toUser(s.Value)
		}
		out[i] = s
	}
	return out
}
