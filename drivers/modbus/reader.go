package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/planner"
)

// A reader polls a fixed set of points. Its requests are encoded once and stay
// the same until the planner learns something.
type reader struct {
	device *device
	points []Address // in the order of the samples

	mu       sync.Mutex // held during a Read; guards what follows
	plan     *planner.Planner
	version  uint64
	requests []request
	queue    []*request
	caller   *caller
}

// A request is one frame to send, under a transaction id that the wire gives, and
// what to do with the answer to it where it is a poll's.
type request struct {
	adu    []byte
	plan   *planner.Request
	fields []field
}

// A field says where in the answer a point's value is: at a byte, for registers,
// or at a bit.
type field struct {
	address Address
	point   int32 // index of its sample
	offset  uint16
	size    uint16 // in bytes; 0: a bit
}

// Read polls the points that the reader was prepared for.
func (r *reader) Read(ctx context.Context, _ []driver.Point, out []driver.Sample) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := poll{reader: r, out: out, now: time.Now()}
	if err := r.begin(&p); err != nil {
		return err
	}
	return p.run(ctx)
}

// begin fills the queue with the requests of a poll.
func (r *reader) begin(p *poll) error {
	planned, probes := r.plan.Poll(p.now)
	if version := r.plan.Version(); version != r.version {
		r.requests = make([]request, len(planned))
		for i := range planned {
			if err := r.compile(&r.requests[i], &planned[i]); err != nil {
				return err
			}
		}
		r.version = version
	}
	for _, f := range r.plan.Refusals() {
		p.out[f.Point] = driver.Faulted(driver.AsError(f.Cause))
	}
	r.queue = r.queue[:0]
	for i := range r.requests {
		r.queue = append(r.queue, &r.requests[i])
	}
	return r.enqueue(probes)
}

// enqueue adds requests of this poll alone.
func (r *reader) enqueue(planned []planner.Request) error {
	for i := range planned {
		q := new(request)
		if err := r.compile(q, &planned[i]); err != nil {
			return err
		}
		r.queue = append(r.queue, q)
	}
	return nil
}

// readFunctions are the function codes by table (clauses 6.1 to 6.4).
var readFunctions = [...]byte{
	Coil:     modbus.FuncCodeReadCoils,
	Discrete: modbus.FuncCodeReadDiscreteInputs,
	Input:    modbus.FuncCodeReadInputRegisters,
	Holding:  modbus.FuncCodeReadHoldingRegisters,
}

func (r *reader) compile(q *request, planned *planner.Request) error {
	data := binary.BigEndian.AppendUint16(nil, uint16(planned.Start))
	data = binary.BigEndian.AppendUint16(data, uint16(planned.Count))
	adu, err := r.device.packager.Encode(&modbus.ProtocolDataUnit{FunctionCode: readFunctions[planned.Table], Data: data})
	if err != nil {
		return driver.Errorf(driver.Internal, "modbus: encode: %w", err)
	}
	fields := make([]field, len(planned.Points))
	for i, point := range planned.Points {
		a := r.points[point]
		f := field{address: a, point: point, offset: a.Start - uint16(planned.Start)}
		if !a.Table.bits() {
			f.offset, f.size = 2*f.offset, uint16(2*a.items())
		}
		fields[i] = f
	}
	*q = request{adu: adu, plan: planned, fields: fields}
	return nil
}

// what says what the request asks, for errors.
func (q *request) what() string {
	return fmt.Sprintf("read %s %d+%d", Table(q.plan.Table), q.plan.Start, q.plan.Count)
}

// A poll is one Read of a reader.
type poll struct {
	*reader
	out      []driver.Sample
	now      time.Time
	answered bool          // something came that is an answer, if only an exception
	broken   *driver.Error // the last answer that was none
}

// run asks everything in the queue, as much at once as the wire takes.
func (p *poll) run(ctx context.Context) error {
	w, c := p.device.wire, p.caller
	defer w.abandon(c)
	now := p.now
	for next := 0; next < len(p.queue) || len(c.sent) > 0; now = time.Now() {
		n, err := w.send(ctx, c, p.queue[next:], now)
		if err != nil {
			return p.device.failed(err, "%s", p.queue[next].what())
		}
		next += n
		t, err := w.receive(ctx, c)
		if err != nil {
			return p.device.failed(err, "%s", c.sent[0].request.what())
		}
		err = p.settle(t.request, t.answer)
		w.release(t)
		if err != nil {
			return err
		}
	}
	if p.broken != nil && !p.answered {
		return p.broken // the device talks, but no Modbus
	}
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
		p.broken = p.device.failed(err, "%s", q.what())
		p.fault(q, driver.AsError(err))
		return nil
	case code != 0:
		p.answered = true
		return p.exception(q, code)
	default:
		p.answered = true
		p.plan.Answered(q.plan)
		return nil
	}
}

// values takes the fields out of the data of a read's answer: a count of bytes and
// as many bytes (clauses 6.1 to 6.4).
func (p *poll) values(q *request, data []byte) error {
	want := 2 * int(q.plan.Count)
	if Table(q.plan.Table).bits() {
		want = (int(q.plan.Count) + 7) / 8
	}
	if len(data) != 1+want || int(data[0]) != want {
		return driver.Errorf(driver.Protocol, "an answer of %d bytes with a byte count of %d where %d were asked",
			max(0, len(data)-1), firstOf(data), want)
	}
	data = data[1:]
	for i := range q.fields {
		f := &q.fields[i]
		sample := &p.out[f.point]
		if sample.Fault != nil {
			sample.Fault = nil // of a point that was refused, and is probed
		}
		if f.size > 0 {
			f.address.decode(sample, data[f.offset:f.offset+f.size])
			continue
		}
		// The first bit is the lowest of the first byte (clause 6.1).
		sample.Value = driver.BoolValue(data[f.offset/8]>>(f.offset%8)&1 == 1)
		sample.Quality = driver.Good
	}
	return nil
}

func firstOf(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	return int(data[0])
}

// exception deals with an answer that is one. Where it is due to some of the
// addresses, smaller requests take the place of q. One that concerns the whole
// device ends the poll: more requests would only load it.
func (p *poll) exception(q *request, code byte) error {
	fault := exception(code)
	switch {
	case fault.Code == driver.Busy || fault.Code == driver.Timeout:
		return p.device.failed(fault, "%s", q.what())
	case refusesAddress(code):
		if parts := p.plan.Refused(q.plan, p.now, fault); len(parts) > 0 {
			return p.enqueue(parts)
		}
	}
	p.fault(q, fault)
	return nil
}

func (p *poll) fault(q *request, fault *driver.Error) {
	for i := range q.fields {
		p.out[q.fields[i].point] = driver.Faulted(fault)
	}
}
