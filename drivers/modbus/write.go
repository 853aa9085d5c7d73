package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Write writes one value by the functions that the device's settings choose. goburrow's client
// makes the requests and compares their echoes.
func (d *device) Write(ctx context.Context, p driver.Point, v driver.Value) error {
	if p.Index < 0 || p.Index >= len(d.points) {
		return driver.Errorf(driver.Internal, "modbus: unit %d: there is no point %d of %d", d.settings.Unit, p.Index, len(d.points))
	}
	a := d.points[p.Index]
	if d.owns != nil && d.owns[p.Index] != nil {
		return d.writeOwn(ctx, p, d.owns[p.Index], v)
	}
	client := modbus.NewClient2(d.packager, transport{ctx, d})
	if err := d.write(client, a, v); err != nil {
		return d.failed(err, "write %s", p.Address)
	}
	return nil
}

func (d *device) write(client modbus.Client, a Address, v driver.Value) error {
	switch {
	case !a.Table.writable():
		return driver.Errorf(driver.Denied, "the table %s can only be read", a.Table)
	case a.Table == Coil:
		return d.writeCoil(client, a, v)
	case a.field():
		return d.writeField(client, a, v)
	}
	registers, err := a.encode(v)
	if err != nil {
		return err
	}
	return d.writeRegisters(client, a.Start, registers)
}

// coilOn is the value of function 5 for on; 0 is off (clause 6.5).
const coilOn = 0xFF00

func (d *device) writeCoil(client modbus.Client, a Address, v driver.Value) error {
	on, ok := v.AsBool()
	if !ok {
		return badValue(a, v, "true, false, 1 or 0")
	}
	var err error
	switch {
	case d.settings.WriteCoil == coilMultiple && on:
		_, err = client.WriteMultipleCoils(a.Start, 1, []byte{1})
	case d.settings.WriteCoil == coilMultiple:
		_, err = client.WriteMultipleCoils(a.Start, 1, []byte{0})
	case on:
		_, err = client.WriteSingleCoil(a.Start, coilOn)
	default:
		_, err = client.WriteSingleCoil(a.Start, 0)
	}
	return answerFault(err)
}

func (d *device) writeRegisters(client modbus.Client, start uint16, registers []byte) error {
	n := len(registers) / 2
	switch {
	case d.settings.Write == writeSingle || (d.settings.Write == writeAuto && n == 1):
		return writeOneByOne(client, start, registers)
	case n > maxWriteRegisters:
		return driver.Errorf(driver.Denied, "%d registers are more than the %d of one write request", n, maxWriteRegisters)
	}
	_, err := client.WriteMultipleRegisters(start, uint16(n), registers)
	return answerFault(err)
}

// writeOneByOne writes registers by function 6, from the first on. It stops at the
// first that fails and says how far it came.
func writeOneByOne(client modbus.Client, start uint16, registers []byte) error {
	i := 0
	for r := range slices.Chunk(registers, 2) {
		_, err := client.WriteSingleRegister(start+uint16(i), binary.BigEndian.Uint16(r))
		if err := answerFault(err); err != nil && i > 0 {
			text := fmt.Sprintf("after %d of %d registers were written: %v", i, len(registers)/2, err)
			return &driver.Error{Code: driver.CodeOf(err), Text: text, Err: errors.Join(driver.ErrMayBeDone, err)}
		} else if err != nil {
			return err
		}
		i++
	}
	return nil
}

// writeField writes bits of a register and leaves the others as they are.
func (d *device) writeField(client modbus.Client, a Address, v driver.Value) error {
	value, err := a.encode(v)
	if err != nil {
		return err
	}
	mask := binary.BigEndian.AppendUint16(nil, a.mask())
	a.arrange(mask)
	bits, set := binary.BigEndian.Uint16(mask), binary.BigEndian.Uint16(value)
	if d.settings.WriteBit == readModifyWrite {
		return d.modifyBits(client, a.Start, bits, set)
	}
	// The register becomes (old AND and) OR (or AND NOT and) (clause 6.16).
	_, err = client.MaskWriteRegister(a.Start, ^bits, set)
	err = answerFault(err)
	if driver.CodeOf(err) == driver.Unsupported {
		return driver.Errorf(driver.Unsupported, "%w: the device has no function 22; set write_bit: %s", err, readModifyWrite)
	}
	return err
}

// modifyBits brings some bits of a register to those of set.
func (d *device) modifyBits(client modbus.Client, start, bits, set uint16) error {
	d.modify.Lock()
	defer d.modify.Unlock()
	registers, err := client.ReadHoldingRegisters(start, 1)
	if err == nil && len(registers) != 2 {
		err = driver.Errorf(driver.Protocol, "a read of one register was answered with %d bytes", len(registers))
	}
	if err != nil {
		return unsent(answerFault(err))
	}
	n := binary.BigEndian.Uint16(registers)&^bits | set
	return d.writeRegisters(client, start, binary.BigEndian.AppendUint16(nil, n))
}

// answerFault is the fault for an error of goburrow's client: one of our transport
// as it is, an exception, or something wrong in the answer.
func answerFault(err error) error {
	var fault *driver.Error
	var ours *modbus.ModbusError
	switch {
	case err == nil || errors.As(err, &fault):
		return err
	case errors.As(err, &ours):
		return exception(ours.ExceptionCode)
	default:
		return malformed(err)
	}
}

// A transport carries one call of goburrow's client, which takes no context.
type transport struct {
	ctx    context.Context
	device *device
}

var _ modbus.Transporter = transport{}

// Send sends one request and returns the answer under the request's own transaction id. A read
// whose connection ends before its answer, of a read-modify-write, is sent once more on another.
func (t transport) Send(adu []byte) ([]byte, error) {
	answer, err := t.sendOnce(adu)
	if reads(t.device.line.framing.function(adu)) && errors.Is(err, errPeerEnded) && t.ctx.Err() == nil {
		return t.sendOnce(adu)
	}
	return answer, err
}

// reads reports whether a function only reads.
func reads(function byte) bool { return function <= modbus.FuncCodeReadInputRegisters }

func (t transport) sendOnce(adu []byte) ([]byte, error) {
	l := t.device.line
	if t.ctx.Err() != nil {
		return nil, unsent(ended(t.ctx))
	}
	w, err := l.use(t.ctx)
	if err != nil {
		return nil, unsent(err)
	}
	defer l.leave(w)
	c := newCaller()
	defer w.abandon(c)
	if t.device.broadcast() {
		return t.broadcast(w, c, adu)
	}
	if _, err := w.send(t.ctx, c, []*request{{device: t.device.name, adu: adu}}, time.Now()); err != nil {
		if len(c.sent) == 0 {
			return nil, unsent(err)
		}
		return nil, err
	}
	answered, err := w.receive(t.ctx, c)
	if err != nil {
		return nil, unknownOutcome(l.framing, adu, err)
	}
	answer := slices.Clone(answered.answer)
	w.release(answered)
	return answer, l.framing.check(adu, answer)
}

// broadcastDelay is how long the units have to work up a broadcast before the next request
// (Modbus over Serial Line V1.02, clause 2.4.1: typically 100 to 200 ms).
const broadcastDelay = 100 * time.Millisecond

// broadcast sends a write that nobody answers, and answers it for them.
func (t transport) broadcast(w *wire, c *caller, adu []byte) ([]byte, error) {
	answer, err := broadcastAnswer(w.framing, adu)
	if err != nil {
		return nil, unsent(err)
	}
	if _, err := w.send(t.ctx, c, []*request{{device: t.device.name, adu: adu}}, time.Now()); err != nil {
		if len(c.sent) == 0 {
			return nil, unsent(err)
		}
		return nil, err
	}
	w.forget(c)
	w.line.pace.ended(time.Now(), broadcastDelay)
	return answer, nil
}

// unsent says of a write that failed that nothing of it was sent.
func unsent(err error) error {
	e := driver.AsError(err)
	return &driver.Error{Code: e.Code, Text: e.Text, Err: errors.Join(driver.ErrNotSent, err)}
}

// unknownOutcome says what silence after a write means.
func unknownOutcome(f framing, adu []byte, err error) error {
	if reads(f.function(adu)) {
		return err
	}
	e := driver.AsError(err)
	return &driver.Error{Code: e.Code, Text: fmt.Sprintf("%s; the device may have taken the value or not", e.Text), Err: err}
}
