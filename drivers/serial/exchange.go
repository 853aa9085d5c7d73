package serial

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// pending is the request that is on the line.
type pending struct {
	*request
	result chan answer // of one place
	other  string      // the last line that was not the answer
}

// answer is what came of a request.
type answer struct {
	fields []string
	fault  *driver.Error
}

// offer reports whether the line ends the request.
func (p *pending) offer(in line) bool {
	switch {
	case in.long:
		p.result <- answer{fault: driver.Errorf(driver.Protocol, "request %s: the answer is longer than max_line", p.name)}
		return true
	case p.refuse != nil && in.wrong == "" && p.refuse.MatchString(in.text):
		p.result <- answer{fault: driver.Errorf(driver.Denied, "request %s: the instrument refuses: %s", p.name, excerpt(in.text))}
		return true
	}
	if in.wrong != "" { // on a line on which one speaks at a time it is the answer
		p.result <- answer{fault: driver.Errorf(driver.Protocol, "request %s: %s: %s", p.name, excerpt(in.text), in.wrong)}
		return true
	}
	fields, ok := p.answer.fields(in.text)
	if !ok {
		p.other = in.text
		return false
	}
	p.result <- answer{fields: fields}
	return true
}

// owed is an answer that did not come in time, and may come yet.
type owed struct {
	*request
	until time.Time
}

func (o *owed) is(text string) bool {
	if o.refuse != nil && o.refuse.MatchString(text) {
		return true
	}
	return o.answer.matches(text)
}

// ask sends a request and waits for its answer.
func (l *link) ask(ctx context.Context, content string, r *request) ([]string, error) {
	p, err := l.claim(ctx, r)
	if err != nil {
		return nil, err
	}
	return l.exchange(ctx, content, p)
}

// claim waits until a request can be sent, and gives it the line. Nothing was sent when
// it fails.
func (l *link) claim(ctx context.Context, r *request) (*pending, error) {
	if err := l.resync(ctx, r); err != nil {
		return nil, err
	}
	p := &pending{request: r, result: make(chan answer, 1)}
	return p, l.begin(p)
}

// exchange sends the request that has the line, and waits for its answer.
func (l *link) exchange(ctx context.Context, content string, p *pending) ([]string, error) {
	deadline := time.Now().Add(l.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := l.send(p.device, content, deadline); err != nil {
		l.giveUp(p)
		return nil, err
	}
	limit := time.NewTimer(time.Until(deadline))
	defer limit.Stop()
	select {
	case a := <-p.result:
		return a.outcome()
	case <-l.lost:
		return nil, l.cause()
	case <-ctx.Done():
	case <-limit.C:
	}
	if a := l.giveUp(p); a != nil {
		return a.outcome()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, driver.Errorf(driver.Timeout, "request %s: %w", p.name, ctx.Err())
	}
	return nil, p.unanswered(l.timeout)
}

// unsent says of a write that failed that nothing of it was sent.
func unsent(err error) error {
	return driver.Errorf(driver.CodeOf(err), "%w: %w", driver.ErrNotSent, err)
}

func (a answer) outcome() ([]string, error) {
	if a.fault != nil {
		return nil, a.fault
	}
	return a.fields, nil
}

// unanswered tells a device that is silent from one that says something else.
func (p *pending) unanswered(timeout time.Duration) error {
	if p.other == "" {
		return driver.Errorf(driver.Timeout, "request %s: no answer in %v", p.name, timeout)
	}
	return driver.Errorf(driver.Protocol, "request %s: no answer in %v that matches; the last line was %s", p.name, timeout, excerpt(p.other))
}

// begin makes p the request that is answered. What came before is taken from the
// port first, so it can't be the answer.
func (l *link) begin(p *pending) error {
	select {
	case <-l.lost:
		return l.cause()
	default:
	}
	err := l.control(func(fd int) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.pending != nil {
			return driver.Errorf(driver.Internal, "request %s: request %s is still on the line", p.name, l.pending.name)
		}
		more, err := l.drain(fd)
		if err != nil {
			return driver.Errorf(driver.NotConnected, "read %s: the port is gone: %w", l.set.Port, err)
		}
		if more {
			return driver.Errorf(driver.Protocol, "request %s: not sent, because the line is flooded", p.name)
		}
		l.sent++
		l.pending = p
		return nil
	})
	var fault *driver.Error
	if err != nil && !errors.As(err, &fault) {
		return l.cause() // the port was closed, and lost before
	}
	return err
}

// control runs do with the port's descriptor, which stays open meanwhile; below 0 where it has
// none that its bytes can be read from.
func (l *link) control(do func(fd int) error) error {
	if l.bytes == nil {
		return do(-1)
	}
	var doErr error
	if err := l.bytes.Control(func(fd uintptr) { doErr = do(int(fd)) }); err != nil {
		return err
	}
	return doErr
}

// giveUp ends a request without an answer, which may come yet; unless it came just
// now: then it is returned.
func (l *link) giveUp(p *pending) *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case a := <-p.result:
		return &a
	default:
	}
	l.pending = nil
	l.owed = append(l.owed, owed{p.request, time.Now().Add(l.late)})
	return nil
}

// resync waits while an answer to an earlier request may come that could be taken for r's.
func (l *link) resync(ctx context.Context, r *request) error {
	for {
		if ctx.Err() != nil {
			return driver.Errorf(driver.Timeout, "request %s: not sent: %w", r.name, ctx.Err())
		}
		wait := l.lateFor(r)
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.arrived:
		case <-timer.C:
		case <-l.lost:
			timer.Stop()
			return l.cause()
		case <-ctx.Done():
			timer.Stop()
			return driver.Errorf(driver.Timeout, "request %s: not sent, because an earlier answer may still come: %w", r.name, ctx.Err())
		}
		timer.Stop()
	}
}

// lateFor tells how long an answer may still come that could be taken for r's.
func (l *link) lateFor(r *request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	left := l.owed[:0]
	for _, o := range l.owed {
		wait := time.Until(o.until)
		if wait <= 0 {
			continue
		}
		left = append(left, o)
		if !o.answer.apart(&r.answer) {
			longest = max(longest, wait)
		}
	}
	l.owed = left
	return longest
}

// send writes a line.
func (l *link) send(device, content string, deadline time.Time) error {
	if driver.Debugs(l.log) {
		driver.LogBytes(l.log, "sent", device, []byte(content+l.set.Terminator.Send))
	}
	err := l.port.SetWriteDeadline(deadline)
	if err == nil {
		_, err = l.port.Write([]byte(content + l.set.Terminator.Send))
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return driver.Errorf(driver.Timeout, "write to %s: %w", l.set.Port, err)
	case errors.Is(err, os.ErrClosed):
		return l.cause()
	default:
		err := driver.Errorf(driver.NotConnected, "write to %s: %w", l.set.Port, err)
		l.lose(err)
		return err
	}
}

// tell sends a line that is not answered.
func (l *link) tell(ctx context.Context, device, content string) error {
	deadline := time.Now().Add(l.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	select {
	case <-l.lost:
		return unsent(l.cause())
	default:
		return l.send(device, content, deadline)
	}
}
