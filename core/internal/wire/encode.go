package wire

import (
	"slices"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fieldloom/fieldloom/core/frame"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// AppendFrame appends the encoded frame of a batch or of a gap, whichever is not nil: what a
// Handler gets and DecodeFrame reads. The core writes its own gap records with it.
func AppendFrame(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
	return new(encoder).append(dst, seq, b, g)
}

// encoder holds what one encoding needs, so that the next needs no allocation. Its
// messages share their columns with the engine's.
type encoder struct {
	frame    driverv1.Frame
	inBatch  driverv1.Frame_Batch
	inGap    driverv1.Frame_Gap
	batch    driverv1.Batch
	blocks   []driverv1.Block
	excepted []driverv1.Exception
	faults   []driverv1.Fault
}

// FrameEncoder returns a function for engine.Options.Encode. It may be called concurrently.
func FrameEncoder() func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
	pool := sync.Pool{New: func() any { return new(encoder) }}
	return func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
		e := pool.Get().(*encoder)
		defer pool.Put(e)
		defer e.forget()
		return e.append(dst, seq, b, g)
	}
}

func (e *encoder) append(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
	e.frame.Sequence, e.frame.Patient = seq, b != nil && b.Patient
	if b != nil {
		e.setBatch(b)
		e.inBatch.Batch = &e.batch
		e.frame.Content = &e.inBatch
	} else {
		e.inGap.Gap = encodeGap(g)
		e.frame.Content = &e.inGap
	}
	size := e.frame.SizeVT()
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	if _, err := e.frame.MarshalToSizedBufferVT(dst[start:]); err != nil {
		// The generated code fails only where the buffer is too small for SizeVT.
		panic("plugin: encode frame: " + err.Error())
	}
	return dst
}

func (e *encoder) setBatch(b *frame.Batch) {
	exceptions, faults := 0, 0
	for i := range b.Blocks {
		exceptions += len(b.Blocks[i].Exceptions)
		for _, x := range b.Blocks[i].Exceptions {
			if x.Fault != nil {
				faults++
			}
		}
	}
	// Grown before use: pointers into the slices are taken below.
	e.blocks = slices.Grow(e.blocks[:0], len(b.Blocks))[:len(b.Blocks)]
	e.excepted = slices.Grow(e.excepted[:0], exceptions)
	e.faults = slices.Grow(e.faults[:0], faults)
	for i := range b.Blocks {
		e.setBlock(&e.blocks[i], &b.Blocks[i])
		e.batch.Blocks = append(e.batch.Blocks, &e.blocks[i])
	}
}

func (e *encoder) setBlock(to *driverv1.Block, b *frame.Block) {
	to.Runs, to.TimeUnixNs, to.TimeDeltasNs = b.Runs, b.Time, b.Deltas
	to.Kind = driverv1.Kind(b.Kind)
	to.Bools, to.Ints, to.Uints, to.Floats = b.Bools, b.Ints, b.Uints, b.Floats
	to.Strings, to.Bytes = validTexts(b.Strings), b.Bytes
	for _, x := range b.Exceptions {
		e.excepted = append(e.excepted, driverv1.Exception{})
		wire := &e.excepted[len(e.excepted)-1]
		wire.First, wire.Count, wire.Quality = x.First, x.Count, driverv1.Quality(x.Quality)
		if x.Fault != nil {
			e.faults = append(e.faults, driverv1.Fault{})
			wire.Fault = &e.faults[len(e.faults)-1]
			setFault(wire.Fault, x.Fault)
		}
		to.Exceptions = append(to.Exceptions, wire)
	}
}

// forget drops every reference into the engine's batch and keeps the room.
func (e *encoder) forget() {
	for i := range e.blocks {
		exceptions := e.blocks[i].Exceptions
		clear(exceptions)
		e.blocks[i].Reset()
		e.blocks[i].Exceptions = exceptions[:0]
	}
	for i := range e.excepted {
		e.excepted[i].Reset()
	}
	for i := range e.faults {
		e.faults[i].Reset()
	}
	clear(e.batch.Blocks)
	e.batch.Blocks = e.batch.Blocks[:0]
	e.inGap.Gap, e.frame.Content = nil, nil
}

// The field numbers of AttachResponse, Frames and Frame that this package writes and
// reads by hand.
const (
	fieldFrame    protowire.Number = 2 // AttachResponse.frame
	fieldFrames   protowire.Number = 5 // AttachResponse.frames
	fieldEach     protowire.Number = 1 // Frames.frames
	fieldSequence protowire.Number = 1 // Frame.sequence
	fieldPatient  protowire.Number = 4 // Frame.patient
)

// FrameMessage is an AttachResponse made of frames that are encoded already.
type FrameMessage struct {
	buffer mem.Buffer
}

var _ encoded = (*FrameMessage)(nil)

func (m *FrameMessage) take() mem.Buffer { return m.buffer }

// NewFrameMessage copies the frames into one message, because the ring may use
// their memory again as soon as they are acknowledged.
func NewFrameMessage(frames [][]byte) *FrameMessage {
	inner := 0
	for _, f := range frames {
		inner += protowire.SizeTag(fieldEach) + protowire.SizeBytes(len(f))
	}
	field := fieldFrames
	if len(frames) == 1 {
		field, inner = fieldFrame, len(frames[0])
	}
	size := protowire.SizeTag(field) + protowire.SizeBytes(inner)
	pool := mem.DefaultBufferPool()
	data := pool.Get(size)
	out := protowire.AppendTag((*data)[:0], field, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(inner))
	for _, f := range frames {
		if field == fieldFrames {
			out = protowire.AppendTag(out, fieldEach, protowire.BytesType)
			out = protowire.AppendVarint(out, uint64(len(f)))
		}
		out = append(out, f...)
	}
	*data = out
	return &FrameMessage{buffer: mem.NewBuffer(data, pool)}
}
