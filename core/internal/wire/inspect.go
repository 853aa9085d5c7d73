package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fieldloom/fieldloom/core/frame"
)

// Handles are the handles that a driver may send samples of.
type Handles interface {
	// Until returns the latest time, in Unix nanoseconds, that samples of the count
	// handles from first on may have. It is false where one of them is not the driver's.
	Until(first uint32, count uint64) (latest int64, ok bool)
}

// Bounds are what a frame must keep within.
type Bounds struct {
	Handles          Handles // nil: all
	Earliest, Latest int64   // of a time, in Unix nanoseconds
}

// Contents are what Inspect found in a frame.
type Contents struct {
	Samples uint64
	Newest  int64 // the latest time of a sample; with Samples only
	IsGap   bool
	First   uint64 // of a gap: the frames that it tells of; both zero: none
	Last    uint64
	Links   bool // of a gap: it says whose samples were lost; Inspect does not check whose they are
}

var (
	errTwice   = errors.New("a field of which there can be one stands there twice")
	errTypeOf  = errors.New("a field has the encoding of another")
	errTooMany = errors.New("it has too many parts")
)

// Inspect checks an encoded frame without decoding it: it allocates nothing, and takes no
// longer than a pass over the frame. A frame that it finds right is one that DecodeFrame
// decodes, and every sample of it keeps within the bounds. An error says what the driver did.
func Inspect(frame []byte, within Bounds) (Contents, error) {
	i := inspector{bounds: within}
	if err := i.walk(frame); err != nil {
		return Contents{}, err
	}
	if i.found.IsGap {
		if err := i.checkLost(); err != nil {
			return Contents{}, err
		}
	}
	return i.found, nil
}

// FrameHead finds the sequence of an encoded frame, and whether it is patient, without going
// through the rest.
func FrameHead(frame []byte) (sequence uint64, patient bool, err error) {
	h, err := readHead(frame)
	if err == nil && h.sequence == 0 {
		err = errors.New("frame has no sequence")
	}
	if err != nil {
		return 0, false, err
	}
	return h.sequence, h.patient, nil
}

// The fields of the messages in a frame.
const (
	fieldBatch protowire.Number = 2 // Frame.batch
	fieldGap   protowire.Number = 3 // Frame.gap

	fieldBlock protowire.Number = 1 // Batch.blocks

	fieldRuns       protowire.Number = 1 // of a Block
	fieldTime       protowire.Number = 2
	fieldDeltas     protowire.Number = 3
	fieldKind       protowire.Number = 4
	fieldBools      protowire.Number = 5 // the columns are in the order of their kinds
	fieldFloats     protowire.Number = 8
	fieldStrings    protowire.Number = 9
	fieldBytes      protowire.Number = 10
	fieldExceptions protowire.Number = 11

	fieldFirst protowire.Number = 1 // of an Exception
	fieldCount protowire.Number = 2
	fieldFault protowire.Number = 4

	fieldCode  protowire.Number = 1 // of a Fault
	fieldText  protowire.Number = 2
	fieldAfter protowire.Number = 3

	fieldLostSamples protowire.Number = 1 // of a Gap
	fieldFirstLost   protowire.Number = 2
	fieldLastLost    protowire.Number = 3
	fieldFrom        protowire.Number = 4
	fieldTo          protowire.Number = 5
	fieldCause       protowire.Number = 6
	fieldLostLinks   protowire.Number = 7

	fieldLostOf     protowire.Number = 1 // of a GapLink: the link
	fieldLostDevice protowire.Number = 2
	fieldUncounted  protowire.Number = 4
)

// An inspector goes through the bytes of one frame. Its walk is the only check of a frame: of
// what a driver sends, with bounds, and before a frame is decoded, without.
type inspector struct {
	bounds  Bounds
	head    frameHead
	blocks  int
	parts   int
	nulls   uint64
	strange bool // it has fields that this version does not know
	found   Contents
	lost    lostSpan
}

// A frameHead is what a frame consists of.
type frameHead struct {
	sequence uint64
	patient  bool
	content  field // batch or gap; without a number: there is none
	strange  bool  // there are fields that this version does not know
	wrong    error // what is wrong with it, beside what cannot be read at all
}

// lostSpan is what a gap says was lost. A time that is 0 is not known.
type lostSpan struct {
	samples  uint64
	from, to int64
}

// A field is one field of a message: a number, or bytes.
type field struct {
	number protowire.Number
	typ    protowire.Type
	value  uint64
	bytes  []byte
}

// next takes the first field off a message that is not empty.
func next(message []byte) (f field, rest []byte, err error) {
	number, typ, n := protowire.ConsumeTag(message)
	if n < 0 {
		return f, nil, errTruncated
	}
	f.number, f.typ = number, typ
	rest = message[n:]
	switch typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(rest)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(rest)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(rest)
	default:
		n = protowire.ConsumeFieldValue(number, typ, rest)
	}
	if n < 0 {
		return f, nil, errTruncated
	}
	return f, rest[n:], nil
}

// readHead reads the fields of a frame itself. An error is of one that cannot be read to its
// end.
func readHead(frame []byte) (h frameHead, err error) {
	var seen [fieldPatient + 1]bool
	for rest := frame; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return frameHead{}, err
		}
		rest = after
		if f.number > fieldPatient {
			h.strange = true
			continue
		}
		typ := protowire.VarintType
		if f.number == fieldBatch || f.number == fieldGap {
			typ = protowire.BytesType
		}
		switch {
		case f.typ != typ:
			h.wrong = errTypeOf
			continue
		case seen[f.number] || typ == protowire.BytesType && h.content.number != 0:
			h.wrong = errTwice
		}
		seen[f.number] = true
		switch f.number {
		case fieldSequence:
			h.sequence = f.value
		case fieldPatient:
			h.patient = f.value != 0
		default:
			h.content = f
		}
	}
	return h, nil
}

// walk goes through a frame and checks that it can be decoded, and is within bounds.
func (i *inspector) walk(frame []byte) (err error) {
	if i.head, err = readHead(frame); err != nil {
		return err
	}
	i.strange = i.head.strange
	switch {
	case i.head.wrong != nil:
		return i.head.wrong
	case i.head.sequence == 0:
		return errors.New("it has no sequence")
	case i.head.content.number == fieldBatch:
		err = i.batch(i.head.content.bytes, uint64(len(frame)))
	case i.head.content.number == fieldGap:
		err = i.gap(i.head.content.bytes)
	default:
		return errors.New("it has neither batch nor gap")
	}
	if err == nil && i.strange {
		err = checkFields(frame, frameLimits())
	}
	return err
}

// batch goes through the batch of a frame of so many bytes.
func (i *inspector) batch(batch []byte, size uint64) error {
	for rest := batch; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		if f.number != fieldBlock {
			i.strange = true
			continue
		}
		if f.typ != protowire.BytesType {
			return errTypeOf
		}
		if i.blocks++; i.blocks > maxBlocks {
			return errTooMany
		}
		if err := i.block(f.bytes); err != nil {
			return fmt.Errorf("block %d: %w", i.blocks-1, err)
		}
	}
	return checkCounts(i.found.Samples, i.nulls, size)
}

func (i *inspector) gap(gap []byte) error {
	i.found.IsGap = true
	seen := uint64(0)
	for rest := gap; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		if i.blocks++; i.blocks > maxBlocks {
			return errTooMany
		}
		if f.number > fieldLostLinks {
			i.strange = true
			continue
		}
		if f.number == fieldLostLinks {
			i.found.Links = true
			if err := checkGapLink(&f); err != nil {
				return err
			}
			continue
		}
		bit := uint64(1) << f.number
		if seen&bit != 0 {
			return errTwice
		}
		seen |= bit
		if f.number == fieldCause && f.typ == protowire.BytesType {
			if err := checkFault(f.bytes); err != nil {
				return err
			}
			continue
		}
		if f.typ != protowire.VarintType || f.number == fieldCause {
			return errTypeOf
		}
		switch f.number {
		case fieldLostSamples:
			i.lost.samples = f.value
		case fieldFirstLost:
			i.found.First = f.value
		case fieldLastLost:
			i.found.Last = f.value
		case fieldFrom:
			i.lost.from = int64(f.value)
		case fieldTo:
			i.lost.to = int64(f.value)
		}
	}
	return nil
}

// checkGapLink checks that what a gap says of one link can be decoded.
func checkGapLink(link *field) error {
	if link.typ != protowire.BytesType {
		return errTypeOf
	}
	for rest := link.bytes; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		typ := protowire.VarintType
		if f.number == fieldLostOf || f.number == fieldLostDevice {
			typ = protowire.BytesType
		}
		if f.number <= fieldUncounted && f.typ != typ {
			return errTypeOf
		}
	}
	return nil
}

// checkLost checks that what a gap says of frames, samples and times can be.
func (i *inspector) checkLost() error {
	first, last := i.found.First, i.found.Last
	limit := uint64(frame.MaxGapSamples)
	if frames := last - first; first != 0 && frames < frame.MaxGapSamples/frame.MaxSamples {
		limit = (frames + 1) * frame.MaxSamples
	}
	from, to := i.lost.from, i.lost.to
	switch {
	case i.lost.samples > limit:
		return fmt.Errorf("a gap of %d samples: there cannot be so many", i.lost.samples)
	case i.outOfBounds(from):
		return fmt.Errorf("a gap at %s", when(from, true))
	case i.outOfBounds(to):
		return fmt.Errorf("a gap at %s", when(to, true))
	case from != 0 && to != 0 && from > to:
		return fmt.Errorf("a gap from %s to %s", when(from, true), when(to, true))
	case first == 0 && last == 0 || 0 < first && first <= last && last <= i.head.sequence:
		return nil
	}
	return fmt.Errorf("a gap of frames %d to %d in frame %d", first, last, i.head.sequence)
}

func (i *inspector) outOfBounds(at int64) bool {
	return at != 0 && (at < i.bounds.Earliest || at > i.bounds.Latest)
}
