package modbus

import (
	"context"
	"slices"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

// transact makes one request of a unit, and returns what its answer holds behind the function
// code, or the code of the exception (clause 7) that it is.
func (l *line) transact(ctx context.Context, unit, function byte, data []byte) (answer []byte, exception byte, err error) {
	return l.transactWithin(ctx, l.timeout, unit, function, data)
}

// transactWithin is transact with a time-out of its own, which is no longer than the line's.
func (l *line) transactWithin(ctx context.Context, timeout time.Duration, unit, function byte, data []byte) (answer []byte, exception byte, err error) {
	p := l.framing.packager(unit)
	adu, err := p.Encode(&modbus.ProtocolDataUnit{FunctionCode: function, Data: data})
	if err != nil {
		return nil, 0, driver.Errorf(driver.Internal, "modbus: encode: %w", err)
	}
	w, err := l.use(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer l.leave(w)
	c := newCaller()
	defer w.abandon(c)
	if _, err := w.send(ctx, c, []*request{{adu: adu}}, time.Now()); err != nil {
		return nil, 0, err
	}
	waiting, cancel := context.WithTimeout(ctx, timeout+l.onLine(adu)) // a connection, and silence, came before it
	defer cancel()
	t, err := w.receive(waiting, c)
	if err != nil {
		return nil, 0, err
	}
	frame := slices.Clone(t.answer)
	w.release(t)
	answer, exception, err = (&device{line: l, packager: p}).open(adu, frame)
	return slices.Clone(answer), exception, err
}
