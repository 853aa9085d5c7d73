package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
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
	Links   bool // of a gap: it says whose samples were lost, which Inspect does not check
}

// maxGapSamples bounds what one gap may tell of: a million samples a second for twelve days.
const maxGapSamples = 1 << 40

var (
	errTwice   = errors.New("a field of which there can be one stands there twice")
	errKindOf  = errors.New("a field has the encoding of another")
	errTooMany = errors.New("it has too many parts")
)

// Inspect checks an encoded frame without decoding it: it allocates nothing, and takes no
// longer than a pass over the frame. A frame that it finds right is one that DecodeFrame
// decodes, and every sample of it keeps within the bounds. An error says what the driver did.
func Inspect(frame []byte, within Bounds) (Contents, error) {
	i := inspector{bounds: within, size: uint64(len(frame))}
	if err := i.frame(frame); err != nil {
		return Contents{}, err
	}
	if i.strange {
		if err := checkFields(frame, frameLimits()); err != nil {
			return Contents{}, err
		}
	}
	return i.found, nil
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
)

type inspector struct {
	bounds   Bounds
	size     uint64 // of the frame
	sequence uint64
	blocks   int
	parts    int
	nulls    uint64
	strange  bool // it has fields that this version does not know
	found    Contents
}

// A field is one field of a message: a number, or bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

// next takes the first field off a message that is not empty.
func next(message []byte) (f field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(message)
	if n < 0 {
		return f, nil, errTruncated
	}
	f.number, f.kind = number, kind
	rest = message[n:]
	switch kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(rest)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(rest)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(rest)
	default:
		n = protowire.ConsumeFieldValue(number, kind, rest)
	}
	if n < 0 {
		return f, nil, errTruncated
	}
	return f, rest[n:], nil
}

func (i *inspector) frame(frame []byte) error {
	content := false
	var seen [fieldPatient + 1]bool
	for rest := frame; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		switch f.number {
		case fieldSequence, fieldPatient:
			if f.kind != protowire.VarintType {
				return errKindOf
			}
			if seen[f.number] {
				return errTwice
			}
			seen[f.number] = true
			if f.number == fieldSequence {
				i.sequence = f.value
			}
		case fieldBatch, fieldGap:
			if f.kind != protowire.BytesType {
				return errKindOf
			}
			if content {
				return errTwice
			}
			content = true
			if f.number == fieldBatch {
				err = i.batch(f.bytes)
			} else {
				err = i.gap(f.bytes)
			}
			if err != nil {
				return err
			}
		default:
			i.strange = true
		}
	}
	switch {
	case i.sequence == 0:
		return errors.New("it has no sequence")
	case !content:
		return errors.New("it has neither batch nor gap")
	}
	return i.checkGap()
}

func (i *inspector) batch(batch []byte) error {
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
		if f.kind != protowire.BytesType {
			return errKindOf
		}
		if i.blocks++; i.blocks > maxBlocks {
			return errTooMany
		}
		if err := i.block(f.bytes); err != nil {
			return fmt.Errorf("block %d: %w", i.blocks-1, err)
		}
	}
	return checkCounts(i.found.Samples, i.nulls, i.size)
}

func (i *inspector) gap(gap []byte) error {
	i.found.IsGap = true
	var samples uint64
	var from, to int64
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
		if f.number > fieldCause {
			i.strange = true
			i.found.Links = i.found.Links || f.number == fieldLostLinks
			continue
		}
		bit := uint64(1) << f.number
		if seen&bit != 0 {
			return errTwice
		}
		seen |= bit
		if f.number == fieldCause && f.kind == protowire.BytesType {
			if err := checkFault(f.bytes); err != nil {
				return err
			}
			continue
		}
		if f.kind != protowire.VarintType || f.number == fieldCause {
			return errKindOf
		}
		switch f.number {
		case fieldLostSamples:
			samples = f.value
		case fieldFirstLost:
			i.found.First = f.value
		case fieldLastLost:
			i.found.Last = f.value
		case fieldFrom:
			from = int64(f.value)
		case fieldTo:
			to = int64(f.value)
		}
	}
	return i.checkLost(samples, from, to)
}

// checkLost checks what a gap says of samples and times. A time that is 0 is not known.
func (i *inspector) checkLost(samples uint64, from, to int64) error {
	limit := uint64(maxGapSamples)
	if frames := i.found.Last - i.found.First; i.found.First != 0 && frames < maxGapSamples/maxFrameSamples {
		limit = (frames + 1) * maxFrameSamples
	}
	if samples > limit {
		return fmt.Errorf("a gap of %d samples: there cannot be so many", samples)
	}
	for _, at := range [...]int64{from, to} {
		if at != 0 && (at < i.bounds.Earliest || at > i.bounds.Latest) {
			return fmt.Errorf("a gap at %s", when(at, true))
		}
	}
	if from != 0 && to != 0 && from > to {
		return fmt.Errorf("a gap from %s to %s", when(from, true), when(to, true))
	}
	return nil
}

// checkGap checks the frames that a gap tells of: those up to its own.
func (i *inspector) checkGap() error {
	first, last := i.found.First, i.found.Last
	if first == 0 && last == 0 || 0 < first && first <= last && last <= i.sequence {
		return nil
	}
	return fmt.Errorf("a gap of frames %d to %d in frame %d", first, last, i.sequence)
}
