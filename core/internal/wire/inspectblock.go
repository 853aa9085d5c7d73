package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// shape is what the fields of a block say together.
type shape struct {
	samples uint64
	until   int64  // of its handles
	end     uint64 // the handle after the last run
	half    bool   // a run's length is to come
	skip    uint64

	time, least, most int64 // of its time, and of the deltas
	deltas            uint64
	kind              uint64
	column            uint64 // the kind of its column; 0: it has none
	values            uint64
	excepted          uint64 // the sample after the last exception
	seen              uint8  // single fields that came
}

func (i *inspector) block(block []byte) error {
	b := shape{until: math.MaxInt64}
	for rest := block; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		if i.parts++; i.parts > maxParts {
			return errTooMany
		}
		if err := i.blockField(&b, &f); err != nil {
			return err
		}
	}
	return i.judge(&b)
}

func (i *inspector) blockField(b *shape, f *field) error {
	switch f.number {
	case fieldRuns:
		return i.runs(b, f)
	case fieldTime:
		b.time = int64(f.value)
		return b.single(1, f)
	case fieldKind:
		b.kind = f.value
		return b.single(2, f)
	case fieldDeltas:
		return b.addDeltas(f)
	case fieldExceptions:
		if f.typ != protowire.BytesType {
			return errTypeOf
		}
		return b.except(f.bytes)
	}
	if f.number >= fieldBools && f.number <= fieldBytes {
		return b.addColumn(f)
	}
	i.strange = true
	return nil
}

func (b *shape) single(bit uint8, f *field) error {
	if f.typ != protowire.VarintType {
		return errTypeOf
	}
	if b.seen&bit != 0 {
		return errTwice
	}
	b.seen |= bit
	return nil
}

// runs reads pairs of handles to skip and to take.
func (i *inspector) runs(b *shape, f *field) error {
	if f.typ == protowire.VarintType {
		return i.run(b, f.value)
	}
	if f.typ != protowire.BytesType {
		return errTypeOf
	}
	for rest := f.bytes; len(rest) > 0; {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			return errTruncated
		}
		rest = rest[n:]
		if err := i.run(b, v); err != nil {
			return err
		}
	}
	return nil
}

func (i *inspector) run(b *shape, v uint64) error {
	if v > math.MaxUint32 {
		return errors.New("the handles go beyond 32 bits")
	}
	if b.half = !b.half; b.half {
		b.skip = v
		return nil
	}
	first := b.end + b.skip
	b.end = first + v
	b.samples += v
	if b.end > math.MaxUint32 {
		return errors.New("the handles go beyond 32 bits")
	}
	if v == 0 || i.bounds.Handles == nil {
		return nil
	}
	until, own := i.bounds.Handles.Until(uint32(first), v)
	if !own {
		return fmt.Errorf("samples of handles %d to %d, which are not all its own", first, b.end-1)
	}
	b.until = min(b.until, until)
	return nil
}

func (b *shape) addDeltas(f *field) error {
	switch f.typ {
	case protowire.VarintType:
		b.delta(f.value)
		return nil
	case protowire.BytesType:
	default:
		return errTypeOf
	}
	for rest := f.bytes; len(rest) > 0; {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			return errTruncated
		}
		rest = rest[n:]
		b.delta(v)
	}
	return nil
}

func (b *shape) delta(v uint64) {
	d := protowire.DecodeZigZag(v)
	if b.deltas++; b.deltas == 1 {
		b.least, b.most = d, d
		return
	}
	b.least, b.most = min(b.least, d), max(b.most, d)
}

// addColumn counts values.
func (b *shape) addColumn(f *field) error {
	kind := uint64(f.number-fieldBools) + uint64(driverv1.Kind_KIND_BOOL)
	if b.column != 0 && b.column != kind {
		return errors.New("it has two columns")
	}
	b.column = kind
	wire := protowire.VarintType
	switch f.number {
	case fieldFloats:
		wire = protowire.Fixed64Type
	case fieldStrings, fieldBytes:
		wire = protowire.BytesType
	}
	if f.typ == wire {
		b.values++
		return nil
	}
	if f.typ != protowire.BytesType {
		return errTypeOf
	}
	n, ok := packed(f.bytes, wire)
	if !ok {
		return errTruncated
	}
	b.values += n
	return nil
}

// packed counts the numbers in a packed column; it is false where the last is cut off, or
// one is longer than a number can be.
func packed(column []byte, wire protowire.Type) (n uint64, ok bool) {
	if wire == protowire.Fixed64Type {
		return uint64(len(column) / 8), len(column)%8 == 0
	}
	// Eight bytes at once, as long as no number among them is long.
	const ends = 0x8080808080808080
	for ; len(column) >= 8; column = column[8:] {
		more := binary.LittleEndian.Uint64(column) & ends
		if more&(more>>8)&(more>>16)&(more>>24) != 0 {
			break
		}
		n += 8 - uint64(bits.OnesCount64(more))
	}
	long := 0
	for _, c := range column {
		if c < 0x80 {
			n++
			long = 0
		} else if long++; long == maxVarint {
			return 0, false
		}
	}
	return n, long == 0
}

// maxVarint is how many bytes the longest number has.
const maxVarint = 10

// except checks an exception, and that it comes after those before.
func (b *shape) except(exception []byte) error {
	var first, count uint64
	for rest := exception; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		switch {
		case f.number > fieldFault:
		case (f.number == fieldFault) != (f.typ == protowire.BytesType), f.number < fieldFault && f.typ != protowire.VarintType:
			return errTypeOf
		case f.number == fieldFault:
			if err := checkFault(f.bytes); err != nil {
				return err
			}
		case f.number == fieldFirst:
			first = f.value
		case f.number == fieldCount:
			count = f.value
		}
	}
	if first < b.excepted || first > math.MaxUint32 || count == 0 || count > math.MaxUint32 {
		return fmt.Errorf("exception of %d+%d is out of order or range", first, count)
	}
	b.excepted = first + count
	return nil
}

// checkFault checks that a fault can be decoded.
func checkFault(fault []byte) error {
	for rest := fault; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return err
		}
		rest = after
		if f.number == fieldText && f.typ != protowire.BytesType ||
			(f.number == fieldCode || f.number == fieldAfter) && f.typ != protowire.VarintType {
			return errTypeOf
		}
	}
	return nil
}

// judge checks that the fields of a block fit together, and their times.
func (i *inspector) judge(b *shape) error {
	switch {
	case b.half:
		return errors.New("a run without a length")
	case b.kind > uint64(driverv1.Kind_KIND_BYTES):
		return fmt.Errorf("there is no kind %d", b.kind)
	case b.column != 0 && b.column != b.kind:
		return fmt.Errorf("a column of kind %d in a block of kind %d", b.column, b.kind)
	case b.kind != 0 && b.values != b.samples:
		return fmt.Errorf("%d values for %d samples", b.values, b.samples)
	case b.deltas != 0 && b.deltas != b.samples:
		return fmt.Errorf("%d times for %d samples", b.deltas, b.samples)
	case b.excepted > b.samples:
		return fmt.Errorf("an exception up to %d in %d samples", b.excepted, b.samples)
	}
	if b.samples == 0 {
		return nil
	}
	if b.kind == 0 {
		i.nulls += b.samples
	}
	newest, err := i.checkTimes(b)
	if err == nil && (i.found.Samples == 0 || newest > i.found.Newest) {
		i.found.Newest = newest
	}
	i.found.Samples += b.samples
	return err
}

func (i *inspector) checkTimes(b *shape) (newest int64, err error) {
	oldest, low := add(b.time, b.least)
	newest, high := add(b.time, b.most)
	switch {
	case !low || oldest < i.bounds.Earliest:
		return 0, fmt.Errorf("a sample's time is too early: %s", when(oldest, low))
	case !high || newest > i.bounds.Latest:
		return 0, fmt.Errorf("a sample's time is too late: %s", when(newest, high))
	case newest > b.until:
		return 0, errors.New("samples of a device that another driver has now")
	}
	return newest, nil
}

// add is a sum, and whether there is one.
func add(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// when is a time for a person.
func when(ns int64, known bool) string {
	if !known {
		return "beyond what 64 bits of nanoseconds hold"
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339)
}
