package engine

import (
	"context"
	"errors"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const maxBrowse = 10_000

var errStopped = &driver.Error{Code: driver.NotConnected, Text: "the link is stopped"}

type askKind uint8

const (
	askWrite askKind = iota
	askRead
	askBrowse
	askTrial // of a device that may be off line: see Check
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

	done    chan struct{} // closed with the answer:
	err     error
	samples []driver.Sample
	entries []driver.Entry
	source  driver.Subscriber // of a trial: to be subscribed to ...
	session *session          // ... in this session, which waits for it
}

// limit bounds the driver call: a write may take two requests (to read what it
// does not change), a browse as many as a Read of 64 points.
func (q *request) limit(timeout time.Duration) time.Duration {
	switch q.kind {
	case askWrite, askTrial:
		return 2 * timeout
	case askBrowse:
		return readLimit(timeout, 64)
	default:
		return readLimit(timeout, len(q.points))
	}
}

// queue is the place among the link's queues.
func (k askKind) queue() int {
	switch k {
	case askWrite:
		return 0
	case askTrial:
		return 2
	default:
		return 1
	}
}

// run makes the driver call, without the lock. What it gives stays in the runner
// until the call is settled, because an abandoned one may come back at any time.
func (q *request) run(ctx context.Context, r *runner) (err error) {
	d := r.job.d
	switch {
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

// ask queues a request and waits for its answer. A call that has begun goes on
// when ctx ends: a write that is on the wire cannot be taken back.
func (l *link) ask(ctx context.Context, q *request) error {
	q.done = make(chan struct{})
	if err := l.enqueue(q); err != nil {
		return err
	}
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
	}
	begun := l.withdraw(q)
	switch {
	case !begun:
		return driver.Errorf(driver.CodeOf(ctx.Err()), "%w: link %s had no time for it: %w", driver.ErrNotSent, l.name, ctx.Err())
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

func (l *link) enqueue(q *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why := l.refuses(q); why != nil {
		return unsent(why)
	}
	q.at = l.e.clock.now()
	if !l.agenda.ask(q) {
		return unsent(driver.Errorf(driver.Busy, "%d requests wait for link %s already", maxRequests, l.name))
	}
	if l.away() {
		l.backoff.hasten(q.at)
	}
	l.crew.signal()
	return nil
}

// away reports whether the link is not open, and was.
func (l *link) away() bool {
	return l.session == nil && l.conditions.link.Condition == control.Down || l.session != nil && l.session.broken
}

// refuses is why a request cannot wait for its turn; nil: it can.
func (l *link) refuses(q *request) *driver.Error {
	switch {
	case q.d.spec.Offline && q.kind != askTrial:
		return errOffline
	case !l.active:
		return l.whyStopped()
	case l.session == nil && l.stopped != nil, l.away() && l.crew.abandoned >= maxAbandoned:
		return l.notConnected(l.conditions.link.Cause)
	case q.d.gone:
		return errChanged
	case q.kind == askTrial && q.d.spec.Offline:
	case q.d.stopped || q.d.health.retries > 0 && !q.d.prepared:
		return orUnknown(q.d.status.Cause)
	}
	return nil
}

func (l *link) notConnected(cause *driver.Error) *driver.Error {
	return driver.Errorf(driver.NotConnected, "link %s is not connected: %w", l.name, orUnknown(cause))
}

var errChanged = &driver.Error{Code: driver.NotConnected, Text: "the configuration has just changed: ask again"}

func orUnknown(cause *driver.Error) *driver.Error {
	if cause == nil {
		return errStopped
	}
	return cause
}

// withdraw takes a request off the agenda, and reports whether its call had begun.
func (l *link) withdraw(q *request) (begun bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.agenda.withdraw(q)
}

// finishRequest answers the caller and draws the same conclusions as from a poll.
func (l *link) finishRequest(r *runner, samples []driver.Sample, fault *driver.Error, now time.Time, at int64) {
	q, d := r.job.req, r.job.d
	if q.kind == askWrite {
		d.status.Writes++
		if fault != nil {
			d.status.WriteFailures++
		}
	}
	if q.kind == askTrial {
		l.finishTrial(r, fault)
		return
	}
	if fault != nil {
		q.err = fault
	} else {
		q.samples = d.fresh(q, samples, now)
		q.entries = r.entries
	}
	close(q.done)
	if d.gone || !l.current(r) {
		return
	}
	if fault == nil {
		if d.health.demoted || d.health.failures > 0 {
			l.answered(d, nil)
		}
		return
	}
	switch fault.Code {
	case driver.NotFound, driver.BadValue, driver.Denied, driver.Unsupported, driver.InvalidConfig:
		if d.health.demoted {
			l.answered(d, nil) // it refuses, so it lives
		}
	default:
		l.failed(r, fault, at)
	}
}

// finishTrial answers the caller and draws no conclusions.
func (l *link) finishTrial(r *runner, fault *driver.Error) {
	q := r.job.req
	if fault != nil {
		q.err = fault
	} else if r.source != nil {
		if r.session == l.session && !r.session.broken && !r.session.closing {
			q.source, q.session = r.source, r.session
			r.session.subs++
		} else {
			q.err = errStopped
		}
	}
	close(q.done)
}

// fresh makes the caller's samples of a read's raw ones.
func (d *device) fresh(q *request, samples []driver.Sample, now time.Time) []driver.Sample {
	out := make([]driver.Sample, len(samples))
	for i, s := range samples {
		mend(&s, nil)
		if s.Time.IsZero() {
			s.Time = now
		}
		if d.table.shapes != nil {
			s.Value = d.table.shapes[q.points[i].Index].toUser(s.Value)
		}
		out[i] = s
	}
	return out
}
