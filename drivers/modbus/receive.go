package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// receive waits for the next answer to one of the caller's requests, until the
// first of them expires or ctx ends. The transaction is to be released.
func (w *wire) receive(ctx context.Context, c *caller) (*transaction, error) {
	for {
		if t, err := w.take(c); t != nil || err != nil {
			return t, err
		}
		var err error
		select {
		case w.reading <- struct{}{}:
			err = w.pump(ctx, c)
			<-w.reading
		default:
			err = w.follow(ctx, c)
		}
		if err != nil {
			return nil, err
		}
	}
}

// take returns an answer that is there, or why there can be none.
func (w *wire) take(c *caller) (*transaction, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(c.answers) == 0 {
		if w.broken != nil {
			return nil, w.broken
		}
		return nil, nil
	}
	t := c.answers[0]
	c.answers = slices.Delete(c.answers, 0, 1)
	i := slices.Index(c.sent, t)
	c.sent = slices.Delete(c.sent, i, i+1)
	return t, nil
}

// follow waits while another caller reads, until that has read an answer for c or
// leaves the reading to c, as it does when the connection breaks.
func (w *wire) follow(ctx context.Context, c *caller) error {
	expires := time.NewTimer(time.Until(c.sent[0].expires))
	defer expires.Stop()
	select {
	case <-c.wake:
		return nil
	case w.reading <- struct{}{}:
		err := w.pump(ctx, c)
		<-w.reading
		return err
	case <-ctx.Done():
		return ended(ctx)
	case <-expires.C:
		return w.silence(c)
	}
}

// pump reads and hands out answers until there is one for c. The caller holds reading.
func (w *wire) pump(ctx context.Context, c *caller) error {
	for {
		mine, err := w.handOut(c)
		if err != nil {
			err = w.lostFrames(c, err)
		}
		if mine {
			return nil // what came before the error counts; take tells of it next time
		}
		if err != nil {
			return err
		}
		if err := w.fill(ctx, c); err != nil {
			return err
		}
	}
}

// handOut gives every answer that was read to its caller and reports whether c has any.
func (w *wire) handOut(c *caller) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head < w.tail {
		skip, size, err := w.framing.next(w.in[w.head:w.tail], w.awaited())
		if err != nil && !w.line.frames && (len(w.flying) > 0 || !w.framing.lenient().trailing) {
			return len(c.answers) > 0, err
		} else if err != nil { // a datagram of its own, or what follows an answer
			skip, size = w.tail-w.head, 0
			w.strays++
		}
		if skip > 0 {
			w.passOver(skip, c)
		}
		if size == 0 {
			break
		}
		frame := w.in[w.head : w.head+size]
		w.head += size
		w.halfAt = time.Time{}
		w.deliver(frame, c)
	}
	if w.head == w.tail {
		w.head, w.tail = 0, 0
	} else if w.halfAt.IsZero() {
		w.halfAt = time.Now()
	}
	return len(c.answers) > 0, nil
}

// awaited is the frame whose answer is awaited, where only one is. The caller holds mu.
func (w *wire) awaited() []byte {
	if len(w.flying) != 1 {
		return nil
	}
	return w.flying[0].request.adu
}

// passOver leaves out bytes that are no answer. The caller holds mu.
func (w *wire) passOver(n int, c *caller) {
	if driver.Debugs(w.log) {
		driver.LogBytes(w.log, "passed over", "", w.in[w.head:w.head+n])
	}
	c.passed += n
	w.head += n
}

// deliver gives a frame to the caller that waits for it, or discards it.
func (w *wire) deliver(frame []byte, reader *caller) {
	id, one := w.framing.id(frame)
	i := w.inFlight(id)
	if one && len(w.flying) == 1 {
		i = 0
	}
	if i < 0 {
		w.strays++
		driver.LogBytes(w.log, "received what nobody waits for", "", frame)
		if late := slices.Index(w.late, id); late >= 0 {
			w.late = slices.Delete(w.late, late, late+1)
		}
		return
	}
	t := w.flying[i]
	driver.LogBytes(w.log, "received", t.request.device, frame)
	w.land(i)
	if w.line.pace.kept() {
		w.line.pace.ended(time.Now(), 0)
	}
	t.answer = append(t.answer[:0], w.framing.trim(frame, t.request.adu)...)
	t.owner.answers = append(t.owner.answers, t)
	if t.owner != reader {
		select {
		case t.owner.wake <- struct{}{}:
		default: // it was told already
		}
	}
}

// patience is how long a caller reads before it has its context wake it. Most
// answers come sooner, and a wake-up costs more than it takes to decode one.
const patience = 100 * time.Millisecond

// fill reads once, until the caller's first request expires or ctx ends; where ctx
// is cancelled early on, until the end of the patience.
func (w *wire) fill(ctx context.Context, c *caller) error {
	w.makeRoom()
	if c.eager && !w.readBy.IsZero() { // a deadline ends the looking at what never ends
		if n := w.spin.read(w.in[w.tail:]); n > 0 {
			w.tail += n
			return nil
		}
		defer func(began time.Time) { w.spin.slept(time.Since(began)) }(time.Now())
	}
	by := c.sent[0].expires
	soon := by.Add(min(0, patience-w.timeout))
	if end, ok := ctx.Deadline(); ok && end.Before(by) {
		by = end
	}
	// Setting a deadline costs; one that strikes early is only moved on.
	if ahead := earlier(soon, by).Sub(w.readBy); ahead < 0 || ahead > patience/2 {
		w.expectBy(earlier(soon, by))
	}
	for watched := false; ; {
		n, err := w.conn.Read(w.in[w.tail:])
		switch {
		case n > 0 || err == nil:
			w.tail += n
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return w.ended(c, err)
		case !time.Now().Before(c.sent[0].expires):
			return w.expired(c)
		case !time.Now().Before(by):
			return w.givenUp(ctx, c)
		}
		if !watched {
			watched = true
			defer context.AfterFunc(ctx, w.wake)()
		}
		w.expectBy(by)
		// After the deadline is set: it may have overwritten a wake-up.
		if ctx.Err() != nil {
			return w.givenUp(ctx, c)
		}
	}
}

// makeRoom has at least a frame's room behind what was read. A datagram is a whole frame or
// none: what is left of the last one is nothing.
func (w *wire) makeRoom() {
	if w.line.frames {
		w.head, w.tail, w.halfAt = 0, 0, time.Time{}
	}
	if len(w.in)-w.tail >= maxFrame {
		return
	}
	w.tail = copy(w.in, w.in[w.head:w.tail])
	w.head = 0
	if len(w.in)-w.tail < maxFrame { // noise without end: an answer that has begun is in the later half
		w.tail = copy(w.in, w.in[w.tail-len(w.in)/2:w.tail])
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (w *wire) expectBy(by time.Time) {
	w.readBy = by
	_ = w.conn.SetReadDeadline(by) // fails only when closed; so does the read
}

// ended closes the connection, which has ended. One that breaks off in the middle of an answer
// is that answer's fault; else nothing was answered, and may be asked again.
func (w *wire) ended(c *caller, err error) error {
	if w.tail == w.head {
		return w.lost("read", err)
	}
	driver.LogBytes(w.log, "received half an answer", c.sent[0].request.device, w.in[w.head:w.tail])
	w.shut(w.operation(c, "read an answer"), err)
	return driver.Errorf(driver.Protocol, "half an answer, and then the end of the connection: %w", err)
}

// expired ends the wait of the caller that reads. Where half an answer has been
// there for long, whatever would follow it is not to be trusted.
func (w *wire) expired(c *caller) error {
	if w.handOutLast() {
		return nil
	}
	err := w.silence(c)
	if w.framing.serial() {
		return w.nothingValid(c, err)
	}
	if w.framing.lenient().transaction {
		w.shutFor(c, err)
	}
	if w.halfFor(w.timeout / 2) {
		driver.LogBytes(w.log, "received half an answer", c.sent[0].request.device, w.in[w.head:w.tail])
		err.Text = fmt.Sprintf("half an answer within %v; the connection is closed", w.timeout)
		w.shut(w.operation(c, "read an answer"), err)
	}
	return err
}

// stuck is how long half an answer may be there when the caller has to go. The
// rest of a frame follows within moments, or the next caller, another device's,
// would take its own answer for it.
const stuck = 5 * time.Millisecond

// givenUp ends the wait of the caller that reads and whose context has ended.
func (w *wire) givenUp(ctx context.Context, c *caller) error {
	err := ended(ctx)
	if !w.framing.serial() && w.halfFor(stuck) {
		driver.LogBytes(w.log, "received half an answer", c.sent[0].request.device, w.in[w.head:w.tail])
		err = driver.Errorf(driver.Timeout, "half an answer; the connection is closed: %w", err)
		w.shut(w.operation(c, "read an answer"), err)
	}
	if w.framing.lenient().transaction {
		w.shutFor(c, err)
	}
	return err
}

// shutFor closes the connection after a wait in vain, where a late answer could be taken for
// the next request's.
func (w *wire) shutFor(c *caller, cause error) {
	w.shut(w.operation(c, "read an answer"), fmt.Errorf("%w; an answer without a transaction id that comes late could not be told from the next one", cause))
}

// halfFor reports whether half an answer has been there for so long.
func (w *wire) halfFor(long time.Duration) bool {
	return w.tail > w.head && !w.halfAt.IsZero() && time.Since(w.halfAt) >= long
}

// operation names the unit that the caller asks: it may be another's call that is
// told that the connection is closed.
func (w *wire) operation(c *caller, what string) string {
	t := c.sent[0]
	return fmt.Sprintf("%s of unit %d", what, w.framing.unit(t.request.adu))
}

func (w *wire) silence(c *caller) *driver.Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf("no answer within %v", w.timeout)
	if n := w.strays - c.strays; n > 0 {
		text += fmt.Sprintf("; %d late or with a transaction id that was not asked were discarded", n)
	}
	return &driver.Error{Code: driver.Timeout, Text: text, Err: os.ErrDeadlineExceeded}
}

// lostFrames closes the connection because what came is no frame. Where only the
// reading caller waits it is its device that sent it.
func (w *wire) lostFrames(c *caller, err error) error {
	driver.LogBytes(w.log, "received what is no frame", c.sent[0].request.device, w.in[w.head:w.tail])
	w.mu.Lock()
	alone := !slices.ContainsFunc(w.flying, func(t *transaction) bool { return t.owner != c })
	w.mu.Unlock()
	if !alone {
		return w.fail("read a frame", err)
	}
	w.shut(w.operation(c, "read an answer"), err)
	return driver.Errorf(driver.Protocol, "the answer is no Modbus frame: %w; the connection is closed", err)
}
