package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
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
	wire     *wire // on which the caller was last
	begun    int   // how many of the next poll's requests were sent ahead
	trouble  map[planner.Span]*trouble
	alive    bool // the last poll had an answer
}

var _ driver.AheadReader = (*reader)(nil)

// A request is one frame to send, under a transaction id that the wire gives, and
// what to do with the answer to it where it is a poll's.
type request struct {
	device string
	adu    []byte
	plan   *planner.Request
	fields []field
}

// A field says where in the answer the values of points are that follow each other
// in both and are of one type: from a byte on, for registers, or at a bit.
type field struct {
	address Address // of the first
	point   int32   // index of the first one's sample
	count   uint16
	offset  uint16
	size    uint16 // of one, in bytes; 0: a bit
}

// Read polls the points that the reader was prepared for.
func (r *reader) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	return r.ReadAhead(ctx, points, out, nil)
}

// ReadAhead is Read that sends the next poll's requests before it decodes the last
// answer, where next wants it and nothing stands against it.
func (r *reader) ReadAhead(ctx context.Context, _ []driver.Point, out []driver.Sample, next func() bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := poll{reader: r, out: out, now: time.Now(), next: next}
	r.caller.eager = next != nil && r.device.line.window == 1 // with more in flight nobody sleeps anyway
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.disconnect()
	if err := r.begin(&p); err != nil {
		return err
	}
	return p.run(ctx)
}

// begin fills the queue with the requests of a poll.
func (r *reader) begin(p *poll) error {
	planned, probes := r.plan.Poll(p.now)
	if version := r.plan.Version(); version != r.version {
		r.wire.abandon(r.caller)
		r.begun = 0
		r.requests = make([]request, len(planned))
		for i := range planned {
			if err := r.compile(&r.requests[i], &planned[i]); err != nil {
				return err
			}
		}
		r.version = version
	}
	refused := r.plan.Refusals()
	for _, f := range refused {
		p.out[f.Point] = driver.Faulted(driver.AsError(f.Cause))
	}
	r.queue = r.queue[:0]
	for i := range r.requests {
		r.queue = append(r.queue, &r.requests[i])
	}
	if len(r.trouble) > 0 {
		r.arrange(p)
	}
	if len(refused) > 0 || len(r.trouble) > 0 {
		p.next = nil // the next poll may be another one
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
	*q = request{device: r.device.name, adu: adu, plan: planned}
	for _, point := range planned.Points {
		a := r.points[point]
		f := field{address: a, point: point, count: 1, offset: a.Start - uint16(planned.Start)}
		if !a.Table.bits() {
			f.offset, f.size = 2*f.offset, uint16(2*a.items())
		}
		if n := len(q.fields); n > 0 && q.fields[n-1].continues(&f) {
			q.fields[n-1].count++
			continue
		}
		q.fields = append(q.fields, f)
	}
	q.fields = slices.Clip(q.fields)
	return nil
}

// continues reports whether g is the next of f's kind, in the answer and in the samples.
func (f *field) continues(g *field) bool {
	a, b := &f.address, &g.address
	return f.size > 0 && a.Type == b.Type && a.Order == b.Order && a.Bit == b.Bit && a.Width == b.Width && a.Size == b.Size &&
		g.point == f.point+int32(f.count) && g.offset == f.offset+f.count*f.size
}

// what says what the request asks, for errors.
func (q *request) what() string {
	return fmt.Sprintf("read %s %d+%d", Table(q.plan.Table), q.plan.Start, q.plan.Count)
}

// values takes the fields out of the data of a read's answer: a count of bytes and
// as many bytes (clauses 6.1 to 6.4).
func (p *poll) values(q *request, data []byte) error {
	want := 2 * int(q.plan.Count)
	if Table(q.plan.Table).bits() {
		want = (int(q.plan.Count) + 7) / 8
	}
	more := p.device.line.framing.lenient().trailing && len(data) == 1+firstOf(data) && firstOf(data) > want
	if !more && (len(data) != 1+want || int(data[0]) != want) {
		return driver.Errorf(driver.Protocol, "an answer of %d bytes with a byte count of %d where %d were asked",
			max(0, len(data)-1), firstOf(data), want)
	}
	data = data[1:]
	for i := range q.fields {
		f := &q.fields[i]
		samples := p.out[f.point:][:f.count]
		if f.size == 0 {
			// The first bit is the lowest of the first byte (clause 6.1).
			samples[0].Value = driver.BoolValue(data[f.offset/8]>>(f.offset%8)&1 == 1)
			samples[0].Quality, samples[0].Fault = driver.Good, nil
			continue
		}
		f.address.decodeAll(samples, data[f.offset:], int(f.size))
	}
	return nil
}

func firstOf(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	return int(data[0])
}
