package frame

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Position is a place in what is stored: behind one sample, or behind a whole record. As
// text, which is how the API writes and takes it, it is RECORD.SAMPLE or RECORD. A reader
// that goes on after the position of the last sample that it has misses nothing and repeats
// nothing. The zero Position is none.
type Position struct {
	Record uint64 // the gateway's number of the record; 0: before the oldest
	Sample uint32 // of the record's samples, from 1; WholeRecord: behind the last
}

// WholeRecord is Position.Sample behind the last sample of a record.
const WholeRecord = math.MaxUint32

// IsZero reports whether p is none.
func (p Position) IsZero() bool { return p == Position{} }

// String returns p as text; it is empty for none.
func (p Position) String() string { return string(p.Append(nil)) }

// Append appends String to dst.
func (p Position) Append(dst []byte) []byte {
	if p.IsZero() {
		return dst
	}
	dst = strconv.AppendUint(dst, p.Record, 10)
	if p.Sample == WholeRecord {
		return dst
	}
	return strconv.AppendUint(append(dst, '.'), uint64(p.Sample), 10)
}

// MarshalText is String.
func (p Position) MarshalText() ([]byte, error) { return p.Append(nil), nil }

// UnmarshalText is ParsePosition.
func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}

// ParsePosition is the reverse of String; "" is none.
func ParsePosition(text string) (Position, error) {
	if text == "" {
		return Position{}, nil
	}
	record, sample, split := strings.Cut(text, ".")
	p := Position{Sample: WholeRecord}
	var err1, err2 error
	p.Record, err1 = strconv.ParseUint(record, 10, 64)
	if split {
		var n uint64
		n, err2 = strconv.ParseUint(sample, 10, 32)
		p.Sample = uint32(n)
	}
	if err1 != nil || err2 != nil || p.Sample == 0 || p.Record == math.MaxUint64 {
		return Position{}, fmt.Errorf("position %.40q: give one as a line of samples has it, such as 1204.17", text)
	}
	return p, nil
}
