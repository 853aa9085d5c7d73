package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Type is the type of a point's value.
type Type uint8

// The types. Bit is a bit of a register, Unsigned and Signed are some of its bits.
const (
	Bool Type = iota
	Bit
	Unsigned
	Signed
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
	Int24
	Uint24
	Int48
	Uint48
	BCD16
	BCD32
	ASCII
	Latin1
	Epoch32
	Epoch64
	Epoch64Milli
	CP56
)

// typeNames are as in an address; a Bit is said by its number, and Unsigned and Signed
// are those of a field.
var typeNames = [...]string{
	Bool: "bool", Bit: "bool", Unsigned: "uint", Signed: "int",
	Int16: "int16", Uint16: "uint16", Int24: "int24", Uint24: "uint24", Int32: "int32", Uint32: "uint32",
	Int48: "int48", Uint48: "uint48", Int64: "int64", Uint64: "uint64", Float32: "float32", Float64: "float64",
	BCD16: "bcd16", BCD32: "bcd32", String: "string", ASCII: "ascii", Latin1: "latin1", Bytes: "bytes",
	Epoch32: "epoch32", Epoch64: "epoch64", Epoch64Milli: "epoch64ms", CP56: "cp56",
}

const typeList = "bool, int8, int8h, uint8, uint8h, int16, uint16, int24, uint24, int32, uint32, int48, uint48, int64, uint64, float32, float64, " +
	"bcd16, bcd32, epoch32, epoch64, epoch64ms, cp56, string:SIZE, ascii:SIZE, latin1:SIZE, bytes:SIZE"

// A codec is how values of a type are made of bytes and back. The bytes are in
// the order abcd: arrange brings them there, for both directions.
type codec struct {
	size   int                                     // in bytes; 0: the address says
	decode func(a *Address, b []byte) driver.Value // of a type to which every content is a value; else nil
	encode func(a Address, b []byte, v driver.Value) error
	parse  func(a *Address, b []byte) (driver.Value, *driver.Error) // of a type with contents that are none
}

// codecs is the one table for reading and writing. Fields are encoded with 0 beside
// them: they are written by a mask.
var codecs = [...]codec{
	Bool: {size: 2, decode: func(_ *Address, b []byte) driver.Value {
		return driver.BoolValue(b[0]|b[1] != 0)
	}, encode: encodeBool},
	Bit: {size: 2, decode: func(a *Address, b []byte) driver.Value {
		return driver.BoolValue(binary.BigEndian.Uint16(b)>>a.Bit&1 == 1)
	}, encode: encodeBit},
	Unsigned: {size: 2, decode: decodeUnsignedField, encode: encodeField},
	Signed:   {size: 2, decode: decodeSignedField, encode: encodeField},
	Int16: {size: 2, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(int16(binary.BigEndian.Uint16(b))))
	}, encode: encodeSigned},
	Uint16: {size: 2, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint64(binary.BigEndian.Uint16(b)))
	}, encode: encodeUnsigned},
	Int32: {size: 4, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(int32(binary.BigEndian.Uint32(b))))
	}, encode: encodeSigned},
	Uint32: {size: 4, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint64(binary.BigEndian.Uint32(b)))
	}, encode: encodeUnsigned},
	Int64: {size: 8, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(binary.BigEndian.Uint64(b)))
	}, encode: encodeSigned},
	Uint64: {size: 8, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(binary.BigEndian.Uint64(b))
	}, encode: encodeUnsigned},
	Float32: {size: 4, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Float32Value(math.Float32frombits(binary.BigEndian.Uint32(b)))
	}, encode: encodeFloat32},
	Float64: {size: 8, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Float64Value(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}, encode: encodeFloat64},
	String: {parse: parseUTF8, encode: encodeText},
	ASCII:  {parse: parseASCII, encode: encodeText},
	Latin1: {decode: decodeLatin1, encode: encodeText},
	Bytes: {decode: func(a *Address, b []byte) driver.Value {
		return driver.BytesValue(bytes.Clone(b[:a.Size]))
	}, encode: encodeBytes},
	Int24: {size: 4, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(int32(binary.BigEndian.Uint32(b)<<8) >> 8))
	}, encode: func(a Address, b []byte, v driver.Value) error {
		return encodeSignedBits(a, b, v, 24)
	}},
	Uint24: {size: 4, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint64(binary.BigEndian.Uint32(b) & 0xFFFFFF))
	}, encode: func(a Address, b []byte, v driver.Value) error {
		return encodeUnsignedBits(a, b, v, 24)
	}},
	Int48: {size: 6, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Int64Value(int64(uint48(b)<<16) >> 16)
	}, encode: encodeSigned},
	Uint48: {size: 6, decode: func(_ *Address, b []byte) driver.Value {
		return driver.Uint64Value(uint48(b))
	}, encode: encodeUnsigned},
	BCD16:        {size: 2, parse: parseBCD, encode: encodeBCD},
	BCD32:        {size: 4, parse: parseBCD, encode: encodeBCD},
	Epoch32:      {size: 4, decode: decodeEpoch32, encode: encodeEpoch},
	Epoch64:      {size: 8, parse: parseEpoch64, encode: encodeEpoch},
	Epoch64Milli: {size: 8, parse: parseEpoch64Milli, encode: encodeEpoch},
	CP56:         {size: 8, parse: parseCP56, encode: encodeCP56},
}

func uint48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

// setType takes the name of a type of whole registers, or of half a one.
func (a *Address) setType(s string) bool {
	if s == "utf8" {
		s = typeNames[String]
	}
	i := slices.Index(typeNames[:], s)
	if i < 0 || Type(i) == Unsigned || Type(i) == Signed {
		return a.setByte(s)
	}
	a.Type = Type(i)
	return true
}

// isTypeName reports whether s is a type's, anywhere in an address.
func isTypeName(s string) bool {
	return slices.Contains(typeNames[:], s) || new(Address).setType(s)
}

// decodeAll puts the values of registers that follow each other, size bytes each,
// into samples. It leaves the registers as they were.
func (a *Address) decodeAll(samples []driver.Sample, registers []byte, size int) {
	decode := codecs[a.Type].decode
	if decode == nil {
		a.parseAll(samples, registers, size)
		return
	}
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
	}
}

// parseAll is decodeAll for a type with contents that are no value: the sample is Bad,
// with what came in its fault.
func (a *Address) parseAll(samples []driver.Sample, registers []byte, size int) {
	for i := range samples {
		b := registers[i*size:][:size]
		a.arrange(b)
		v, fault := codecs[a.Type].parse(a, b)
		a.arrange(b)
		samples[i].Value, samples[i].Quality, samples[i].Fault = v, driver.Good, fault
		if fault != nil {
			samples[i] = driver.Faulted(fault)
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
func (a *Address) arrange(b []byte) {
	if a.Order == CDAB || a.Order == DCBA {
		a.reverseRegisters(b)
	}
	if a.Order == BADC || a.Order == DCBA {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
}

func (a *Address) reverseRegisters(b []byte) {
	if a.sized() {
		return
	}
	for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
		b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
	}
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
	return encodeSignedBits(a, b, v, 8*len(b))
}

// encodeSignedBits writes a number of some bits, with its sign in those above them.
func encodeSignedBits(a Address, b []byte, v driver.Value, bits int) error {
	highest := int64(math.MaxInt64) >> (64 - bits)
	n, ok := settle(v).AsInt64()
	if !ok || n < -highest-1 || n > highest {
		return badValue(a, v, fmt.Sprintf("a whole number from %d to %d", -highest-1, highest))
	}
	put(b, uint64(n))
	return nil
}

func encodeUnsigned(a Address, b []byte, v driver.Value) error {
	return encodeUnsignedBits(a, b, v, 8*len(b))
}

// encodeUnsignedBits writes a number of some bits, with 0 in those above them.
func encodeUnsignedBits(a Address, b []byte, v driver.Value, bits int) error {
	highest := uint64(math.MaxUint64) >> (64 - bits)
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

// parseBCD reads a decimal digit from every four bits.
func parseBCD(_ *Address, b []byte) (driver.Value, *driver.Error) {
	n := uint64(0)
	for _, c := range b {
		if c>>4 > 9 || c&0xF > 9 {
			return driver.Value{}, driver.Errorf(driver.Protocol, "no BCD, which has digits from 0 to 9: the device sends %s", hexadecimal(b))
		}
		n = 100*n + 10*uint64(c>>4) + uint64(c&0xF)
	}
	return driver.Uint64Value(n), nil
}

func encodeBCD(a Address, b []byte, v driver.Value) error {
	highest := uint64(1)
	for range b {
		highest *= 100
	}
	n, ok := settle(v).AsUint64()
	if !ok || n >= highest {
		return badValue(a, v, fmt.Sprintf("a whole number from 0 to %d", highest-1))
	}
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(n%10 | n/10%10<<4)
		n /= 100
	}
	return nil
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
	name := typeNames[a.Type]
	if a.Width > 0 {
		name = fmt.Sprintf("%s of bits %d-%d", name, a.Bit, a.Bit+a.Width-1)
	}
	return driver.Errorf(driver.BadValue, "%s does not fit %s, which takes %s", v.AppendJSON(nil), name, takes)
}

const maxShown = 32 // bytes of a text in its fault

func hexadecimal(b []byte) string {
	if len(b) > maxShown {
		return fmt.Sprintf("% X ... (%d bytes)", b[:maxShown], len(b))
	}
	return fmt.Sprintf("% X", b)
}
