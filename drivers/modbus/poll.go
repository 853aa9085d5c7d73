package modbus

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A poll is one Read of a reader.
type poll struct {
	*reader
	out      []driver.Sample
	now      time.Time
	next     func() bool   // asks for the next poll's first requests; may be nil
	answered bool          // something came that is an answer, if only an exception
	failed   *driver.Error // why the last request without an answer has none
	again    []*request    // were asked once more, on another connection
	silences int           // requests without any answer, before the first answer
}

// connect gives the poll a connection: the last one's where that goes on.
func (p *poll) connect(ctx context.Context) error {
	w, err := p.device.line.use(ctx)
	if err != nil {
		return err // of the line, whichever device asks
	}
	if w != p.wire {
		p.begun = 0
		if p.wire != nil {
			p.wire.abandon(p.caller)
		}
		p.wire = w
	}
	return nil
}

// disconnect gives the connection back. What was sent ahead is the next poll's; nothing else
// is waited for.
func (p *poll) disconnect() {
	if p.begun == 0 {
		p.wire.abandon(p.caller)
	}
	p.device.line.leave(p.wire)
}

// run asks everything in the queue, as much at once as the wire takes. What can be
// sent is sent before the answer that has come is worked up.
func (p *poll) run(ctx context.Context) error {
	next := p.begun
	p.begun = 0
	for p.begun == 0 {
		sent, err := p.send(ctx, next)
		if err == nil {
			next = sent
			if len(p.caller.sent) == 0 {
				break
			}
			next, err = p.receive(ctx, next)
		}
		if err != nil {
			if next, err = p.goOn(ctx, next, err); err != nil {
				return err
			}
		}
	}
	return p.verdict()
}

// verdict is the outcome of a poll: the fault of the device where none of its blocks answers.
func (p *poll) verdict() error {
	p.alive = p.answered
	if p.answered || p.failed == nil {
		return nil
	}
	return p.failed
}

// receive takes one answer, and returns how far the queue has been sent.
func (p *poll) receive(ctx context.Context, next int) (int, error) {
	w, c := p.wire, p.caller
	t, err := w.receive(ctx, c)
	if err != nil {
		return next, err
	}
	defer w.release(t)
	if w.framing.function(t.answer)&exceptionBit == 0 { // after an exception the poll may go another way
		if sent, err := p.send(ctx, next); err == nil { // else the next round tells
			next = sent
			p.sendAhead(ctx, next)
		}
	}
	return next, p.settle(t.request, t.answer)
}

// send sends of the queue from next on what the wire takes, and returns where it
// stopped. It waits only when nothing is in flight.
func (p *poll) send(ctx context.Context, next int) (int, error) {
	if next == len(p.queue) {
		return next, nil
	}
	n, err := p.wire.send(ctx, p.caller, p.queue[next:], time.Now())
	return next + n, err
}

// sendAhead begins the next poll when this one has its last answer and the next
// will ask the same. An error is the next poll's to find.
func (p *poll) sendAhead(ctx context.Context, next int) {
	if p.next == nil || next < len(p.queue) || len(p.caller.sent) > 0 || p.failed != nil || p.plan.Version() != p.version || len(p.queue) != len(p.requests) || !p.next() {
		return
	}
	if n, err := p.wire.send(ctx, p.caller, p.queue, time.Now()); err == nil {
		p.begun = n
	}
}

// goOn deals with a request, or several, that have no answer: a connection that has ended is
// replaced by another, once for a request; silence is the fault of the request alone, as long
// as others are answered. It returns where the queue goes on, or why the poll ends.
func (p *poll) goOn(ctx context.Context, next int, err error) (int, error) {
	first := next
	if len(p.caller.sent) > 0 {
		first = p.position(p.caller.sent[0].request)
	}
	if first == len(p.queue) {
		return 0, p.device.failed(err, "poll")
	}
	q := p.queue[first]
	fault := p.device.failed(err, "%s", q.what())
	if ctx.Err() != nil {
		return 0, fault
	}
	switch {
	case fault.Code == driver.NotConnected && !errors.Is(err, net.ErrClosed): // by its end, or by what came for another
		return p.reconnect(ctx, next, fault)
	case fault.Code != driver.Timeout && fault.Code != driver.Protocol:
		return 0, fault
	}
	p.blame(q, fault)
	p.wire.abandonOne(p.caller, q)
	if p.wire.over(false) { // what came was no frame, or half of one
		if err := p.another(ctx); err != nil {
			return 0, err
		}
		return first + 1, nil
	}
	if !p.answered {
		if p.silences++; p.silences > 1 || !p.alive || len(p.queue) == 1 {
			return 0, fault
		}
	}
	return next, nil
}

// position is where a request is in the queue.
func (p *poll) position(q *request) int {
	for i, r := range p.queue {
		if r == q {
			return i
		}
	}
	return len(p.queue)
}

// reconnect asks once more, on another connection, what was sent on one that has ended without
// a byte of an answer.
func (p *poll) reconnect(ctx context.Context, next int, fault *driver.Error) (int, error) {
	first := next
	for _, t := range p.caller.sent {
		first = min(first, p.position(t.request))
		for _, q := range p.again {
			if q == t.request {
				// Twice in one poll: the device has a connection, and ends it when it is asked.
				fault = &driver.Error{Code: driver.Protocol, Text: fault.Text + ", twice, without an answer", Err: fault}
				p.blame(q, fault)
				return 0, fault
			}
		}
		p.again = append(p.again, t.request)
	}
	if len(p.caller.sent) == 0 { // it ended while the request was being written
		if len(p.again) > 2*len(p.queue) {
			return 0, fault
		}
		p.again = append(p.again, p.queue[next])
	}
	return first, p.another(ctx)
}

// another takes another connection for the rest of the poll.
func (p *poll) another(ctx context.Context) error {
	p.wire.abandon(p.caller)
	p.device.line.leave(p.wire)
	w, err := p.device.line.use(ctx)
	if err != nil {
		return err
	}
	p.wire = w
	return nil
}

// settle takes the values out of the answer to q, or says of its points why there
// are none. An error ends the poll.
func (p *poll) settle(q *request, answer []byte) error {
	data, code, err := p.device.open(q.adu, answer)
	if err == nil && code == 0 {
		err = p.values(q, data)
	}
	switch {
	case err != nil:
		p.blame(q, p.device.failed(err, "%s", q.what()))
		return nil
	case code != 0:
		return p.exception(q, code)
	default:
		p.answered = true
		p.plan.Answered(q.plan)
		if len(p.trouble) > 0 {
			delete(p.trouble, q.plan.Span)
		}
		return nil
	}
}

// exception deals with an answer that is one. Where it is due to some of the addresses, smaller
// requests take the place of q; else it is the fault of this request alone. Behind a gateway
// that cannot reach the device (codes 10 and 11) there is nobody who has answered.
func (p *poll) exception(q *request, code byte) error {
	fault := exception(code)
	p.answered = p.answered || fault.Code != driver.Timeout && fault.Code != driver.Busy
	if refusesAddress(code) {
		if parts := p.plan.Refused(q.plan, p.now, fault); len(parts) > 0 {
			return p.enqueue(parts)
		}
		p.fault(q, fault)
		return nil
	}
	p.blame(q, p.device.failed(fault, "%s", q.what()))
	return nil
}

// blame makes a request's points Bad, and has the request asked with care from now on.
func (p *poll) blame(q *request, fault *driver.Error) {
	p.failed = fault
	p.fault(q, fault)
	p.suspect(q, fault)
}

func (p *poll) fault(q *request, fault *driver.Error) {
	for _, point := range q.plan.Points {
		p.out[point] = driver.Faulted(fault)
	}
}
