package wire

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// A field of two bytes can become a struct of hundreds, so messages from a driver are
// counted before they are decoded: the limits are of the fields at each depth.

// A frame has at most so many blocks, and so many parts in all of them: every text and
// every exception is a part; a column of numbers is one.
const (
	maxBlocks = 1 << 14
	maxParts  = 1 << 17
)

// frameLimits are of a frame: itself, its blocks, and what is in the blocks.
func frameLimits() []int { return []int{16, maxBlocks, maxParts} }

// AnswerLimits are of any other message: its entries, and what is in them.
func AnswerLimits() []int { return []int{1 << 17, 1 << 19} }

// maxScanFrames bounds the frames in one message.
const maxScanFrames = 4096

// checkFields counts the fields of an encoded message, and of what may be messages
// in it. limits are what is left, and are used up.
func checkFields(data []byte, limits []int) error {
	if len(limits) == 0 {
		return nil
	}
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil // a text, or the decoder's to refuse
		}
		size := protowire.ConsumeFieldValue(number, typ, data[n:])
		if size < 0 {
			return nil
		}
		if limits[0]--; limits[0] < 0 {
			return errors.New("message has too many parts")
		}
		if typ == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(data[n:])
			if err := checkFields(body, limits[1:]); err != nil {
				return err
			}
		}
		data = data[n+size:]
	}
	return nil
}

var errTruncated = errors.New("message is cut off or not protobuf")

// AttachMessage is an AttachResponse as the core receives it: the frames stay
// encoded, everything else is decoded. The frames own their memory.
type AttachMessage struct {
	Frames [][]byte
	Other  driverv1.AttachResponse // empty where there are frames
}

var _ scanner = (*AttachMessage)(nil)

// scan copies the message once out of gRPC's buffers; the frames are parts of that copy.
func (m *AttachMessage) scan(data mem.BufferSlice) error {
	all := make([]byte, data.Len())
	data.CopyTo(all)
	return m.split(all)
}

func (m *AttachMessage) split(all []byte) error {
	m.Frames, m.Other.Message = m.Frames[:0], nil
	for rest := all; len(rest) > 0; {
		number, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return errTruncated
		}
		size := protowire.ConsumeFieldValue(number, typ, rest[n:])
		if size < 0 {
			return errTruncated
		}
		value := rest[n : n+size]
		rest = rest[n+size:]
		if len(m.Frames) >= maxScanFrames {
			return fmt.Errorf("message has more than %d frames", maxScanFrames)
		}
		if typ != protowire.BytesType || number != fieldFrame && number != fieldFrames {
			continue
		}
		body, _ := protowire.ConsumeBytes(value)
		if number == fieldFrame {
			m.Frames = append(m.Frames, body[:len(body):len(body)])
		} else if err := m.splitFrames(body); err != nil {
			return err
		}
	}
	if len(m.Frames) > 0 {
		return nil
	}
	if err := checkFields(all, AnswerLimits()); err != nil {
		return err
	}
	return m.Other.UnmarshalVT(all)
}

func (m *AttachMessage) splitFrames(body []byte) error {
	for len(body) > 0 {
		number, typ, n := protowire.ConsumeTag(body)
		if n < 0 {
			return errTruncated
		}
		size := protowire.ConsumeFieldValue(number, typ, body[n:])
		if size < 0 {
			return errTruncated
		}
		if len(m.Frames) >= maxScanFrames {
			return fmt.Errorf("message has more than %d frames", maxScanFrames)
		}
		if number == fieldEach && typ == protowire.BytesType {
			frame, _ := protowire.ConsumeBytes(body[n : n+size])
			m.Frames = append(m.Frames, frame[:len(frame):len(frame)])
		}
		body = body[n+size:]
	}
	return nil
}

// DecodeFrame decodes a frame as Handler.Frame gets it: its sequence and either a
// batch or a gap. The frame may come from anybody: it is inspected first, so the batch passes
// its Check, and the memory it takes is a small multiple of len(frame). The result shares
// nothing with frame.
func DecodeFrame(frame []byte) (seq uint64, b *frame.Batch, g *frame.Gap, err error) {
	i := inspector{bounds: Bounds{Earliest: math.MinInt64, Latest: math.MaxInt64}}
	if err := i.walk(frame); err != nil {
		return 0, nil, nil, fmt.Errorf("decode frame %d of %d bytes: %w", i.head.sequence, len(frame), err)
	}
	var wire driverv1.Frame
	if err := wire.UnmarshalVT(frame); err != nil {
		return 0, nil, nil, fmt.Errorf("decode frame %d of %d bytes: %w", i.head.sequence, len(frame), err)
	}
	if i.found.IsGap {
		return i.head.sequence, nil, decodeGap(wire.GetGap()), nil
	}
	return i.head.sequence, decodeBatch(&wire), nil, nil
}

func decodeBatch(wire *driverv1.Frame) *frame.Batch {
	blocks := wire.GetBatch().GetBlocks()
	b := &frame.Batch{Blocks: make([]frame.Block, len(blocks)), Patient: wire.Patient}
	for i, block := range blocks {
		b.Blocks[i] = decodeBlock(block)
	}
	return b
}

// spareNulls is how many nulls a frame may have beside one for each of its bytes: a device
// whose poll failed is one run of nulls, and a batch of package engine has 1,000 samples at
// most.
const spareNulls = 1000

// checkCounts bounds the samples of a frame. Without it a few bytes could claim any number
// of nulls, and everybody who watches would walk them.
func checkCounts(samples, nulls, size uint64) error {
	switch {
	case samples > frame.MaxSamples:
		return fmt.Errorf("it has %d samples: at most %d are taken", samples, frame.MaxSamples)
	case nulls > spareNulls+size:
		return fmt.Errorf("it claims %d nulls in %d bytes: at most %d and one for each byte are taken", nulls, size, spareNulls)
	}
	return nil
}

// decodeBlock decodes a block that was inspected.
func decodeBlock(wire *driverv1.Block) frame.Block {
	b := frame.Block{
		Runs: wire.GetRuns(), Time: wire.GetTimeUnixNs(), Deltas: wire.GetTimeDeltasNs(),
		Kind:  driver.Kind(wire.GetKind()),
		Bools: wire.GetBools(), Ints: wire.GetInts(), Uints: wire.GetUints(), Floats: wire.GetFloats(),
		Strings: wire.GetStrings(), Bytes: wire.GetBytes(),
	}
	if len(wire.GetExceptions()) > 0 {
		b.Exceptions = make([]frame.Exception, len(wire.GetExceptions()))
	}
	for i, x := range wire.GetExceptions() {
		b.Exceptions[i] = frame.Exception{
			First: x.GetFirst(), Count: x.GetCount(),
			Quality: decodeQuality(x.GetQuality()), Fault: DecodeFault(x.GetFault()),
		}
	}
	return b
}
