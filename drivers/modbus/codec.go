package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Type is the type of a point's value.
type Type uint8

// The types. Bit is a bit of a register.
const (
	Bool Type = iota
	Bit
	Int16
	Uint16
	Int32
	Uint32
	Int64
	Uint64
	Float32
	Float64
	String
	Bytes
)

// typeNames are as in an address; a Bit is said by its number.
var typeNames = [...]string{
	Bool: "bool", Bit: "bool", Int16: "int16", Uint16: "uint16", Int32: "int32", Uint32: "uint32", Int64: "int64", Uint64: "uint64",
	Float32: "float32", Float64: "float64", String: "string", Bytes: "bytes",
}

const typeList = "bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string:SIZE, bytes:SIZE"

// A codec is how values of a type are made of bytes and back. The bytes are in
// the order abcd: arrange brings them there, for both directions.
type codec struct {
	size   int // in bytes; 0: the address says
	decode func(a *Address, b []byte) driver.Value
	encode func(a Address, b []byte, v driver.Value) error
}

// codecs is the one table for reading and writing. A Bit is not encoded into its
// register: it is written by a mask.
var codecs = [...]codec{
	Bool: {2, func(_ *Address, b []byte) driver.Value {
		return driver.BoolValue(b[0]|b[1] != 0)
	}, encodeBool},
	Bit: {2, func(a *Address, b []byte) driver.Value {
		return driver.BoolValue(binary.BigEndian.Uint16(b)>>a.Bit&1 == 1)
	}, nil},
	Int16: {2, func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(int16(binary.BigEndian.Uint16(b))))
	}, encodeSigned},
	Uint16: {2, func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint64(binary.BigEndian.Uint16(b)))
	}, encodeUnsigned},
	Int32: {4, func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(int32(binary.BigEndian.Uint32(b))))
	}, encodeSigned},
	Uint32: {4, func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint64(binary.BigEndian.Uint32(b)))
	}, encodeUnsigned},
	Int64: {8, func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(binary.BigEndian.Uint64(b)))
	}, encodeSigned},
	Uint64: {8, func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(binary.BigEndian.Uint64(b))
	}, encodeUnsigned},
	Float32: {4, func(_ *Address, b []byte) driver.Value {
		return driver.Float32Value(math.Float32frombits(binary.BigEndian.Uint32(b)))
	}, encodeFloat32},
	Float64: {8, func(_ *Address, b []byte) driver.Value {
		return driver.Float64Value(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}, encodeFloat64},
	String: {0, decodeString, encodeString},
	Bytes: {0, func(a *Address, b []byte) driver.Value {
		return driver.BytesValue(bytes.Clone(b[:a.Size]))
	}, encodeBytes},
}

// parseTypeName knows the names that an address may have: all but the bit's.
func parseTypeName(s string) (Type, bool) {
	for t, name := range typeNames {
		if name == s {
			return Type(t), true
		}
	}
	return 0, false
}

// decodeAll puts the values of registers that follow each other, size bytes each,
// into samples. It leaves the registers as they were.
func (a *Address) decodeAll(samples []driver.Sample, registers []byte, size int) {
	decode := codecs[a.Type].decode
	for i := range samples {
		s, b := &samples[i], registers[i*size:][:size]
		if a.Order != ABCD {
			a.arrange(b)
		}
		s.Value = decode(a, b)
		if a.Order != ABCD {
			a.arrange(b) // other points may lie in the same registers
		}
		s.Quality, s.Fault = driver.Good, nil // one that was refused, and is probed, has a fault
		if a.Type == String {
			judgeText(s)
		}
	}
}

// encode makes the registers of a value as they go out.
func (a Address) encode(v driver.Value) ([]byte, error) {
	b := make([]byte, 2*a.items())
	if err := codecs[a.Type].encode(a, b, v); err != nil {
		return nil, err
	}
	a.arrange(b)
	return b, nil
}

// arrange brings registers from the address's order to abcd, or back: both steps
// are their own reverse, and either may come first.
func (a Address) arrange(b []byte) {
	if a.Order == CDAB || a.Order == DCBA {
		a.reverseRegisters(b)
	}
	if a.Order == BADC || a.Order == DCBA {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
}

func (a Address) reverseRegisters(b []byte) {
	if a.sized() {
		return
	}
	for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
		b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
	}
}

func decodeString(a *Address, b []byte) driver.Value {
	b = b[:a.Size]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return driver.StringValue(string(b))
}

// judgeText makes text that is not UTF-8 an Uncertain sample: it could not be told
// apart from other text on its way up.
func judgeText(s *driver.Sample) {
	text := s.Value.Str()
	if utf8.ValidString(text) {
		return
	}
	s.Value = driver.StringValue(strings.ToValidUTF8(text, "\uFFFD"))
	s.Quality = driver.Uncertain
	s.Fault = driver.Errorf(driver.Protocol, "the text is not UTF-8: read it as bytes to see what the device sends")
}

func encodeString(a Address, b []byte, v driver.Value) error {
	text := v.Str()
	switch {
	case v.Kind() != driver.KindString:
		return badValue(a, v, "text")
	case len(text) > int(a.Size):
		return driver.Errorf(driver.BadValue, "text of %d bytes does not fit %d", len(text), a.Size)
	case strings.IndexByte(text, 0) >= 0:
		return driver.Errorf(driver.BadValue, "text with a zero byte cannot be written: a zero byte ends it")
	}
	copy(b, text)
	return nil
}

func encodeBytes(a Address, b []byte, v driver.Value) error {
	if v.Kind() != driver.KindBytes || len(v.Bytes()) != int(a.Size) {
		return badValue(a, v, fmt.Sprintf("exactly %d bytes", a.Size))
	}
	copy(b, v.Bytes())
	return nil
}

func encodeBool(a Address, b []byte, v driver.Value) error {
	on, ok := v.AsBool()
	if !ok {
		return badValue(a, v, "true, false, 1 or 0")
	}
	if on {
		b[1] = 1
	}
	return nil
}

func encodeSigned(a Address, b []byte, v driver.Value) error {
	highest := int64(math.MaxInt64) >> (64 - 8*len(b))
	n, ok := settle(v).AsInt64()
	if !ok || n < -highest-1 || n > highest {
		return badValue(a, v, fmt.Sprintf("a whole number from %d to %d", -highest-1, highest))
	}
	put(b, uint64(n))
	return nil
}

func encodeUnsigned(a Address, b []byte, v driver.Value) error {
	highest := uint64(math.MaxUint64) >> (64 - 8*len(b))
	n, ok := settle(v).AsUint64()
	if !ok || n > highest {
		return badValue(a, v, fmt.Sprintf("a whole number from 0 to %d", highest))
	}
	put(b, n)
	return nil
}

func put(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
}

// settle takes away what scaling leaves: 23.4/0.1 is 233.99999999999997, and the
// user means 234. A real fraction stays, and is refused.
func settle(v driver.Value) driver.Value {
	if v.Kind() != driver.KindFloat64 {
		return v
	}
	f := v.Float64()
	if near := math.Round(f); math.Abs(f-near) <= min(1e-9*max(1, math.Abs(f)), 1e-6) {
		return driver.Float64Value(near)
	}
	return v
}

func encodeFloat32(a Address, b []byte, v driver.Value) error {
	f, ok := v.AsFloat64()
	if !ok || (!math.IsInf(f, 0) && math.IsInf(float64(float32(f)), 0)) {
		return badValue(a, v, fmt.Sprintf("a number from %g to %g", -math.MaxFloat32, math.MaxFloat32))
	}
	if f != 0 && float32(f) == 0 {
		return badValue(a, v, fmt.Sprintf("0, or a number from %g on: it would be written as 0", math.SmallestNonzeroFloat32))
	}
	binary.BigEndian.PutUint32(b, math.Float32bits(float32(f)))
	return nil
}

func encodeFloat64(a Address, b []byte, v driver.Value) error {
	f, ok := v.AsFloat64()
	if !ok {
		return badValue(a, v, "a number")
	}
	binary.BigEndian.PutUint64(b, math.Float64bits(f))
	return nil
}

func badValue(a Address, v driver.Value, takes string) error {
	return driver.Errorf(driver.BadValue, "%s does not fit %s, which takes %s", v.AppendJSON(nil), typeNames[a.Type], takes)
}
