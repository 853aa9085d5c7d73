package modbus

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// field reports whether the value is some bits of a register beside which others may
// lie: it is written without touching them.
func (a *Address) field() bool { return a.Type == Bit || a.Type == Unsigned || a.Type == Signed }

// mask has the bits of a field, in the order abcd.
func (a *Address) mask() uint16 { return uint16(1<<max(a.Width, 1)-1) << a.Bit }

// parseBits reads what follows the dot: a bit, or the lowest and the highest bit of a field.
func (a *Address) parseBits(s string) error {
	low, high, isField := strings.Cut(s, "-")
	first, err := parseBit(low)
	if err != nil {
		return err
	}
	a.Type, a.Bit = Bit, first
	if !isField {
		return nil
	}
	last, err := parseBit(high)
	switch {
	case err != nil:
		return err
	case last < first:
		return fmt.Errorf("bits %s are the wrong way round: write them as %d-%d", s, last, first)
	}
	a.Type, a.Width = Unsigned, last-first+1
	return nil
}

func parseBit(s string) (uint8, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n >= bitsPerRegister || len(s) > 2 {
		return 0, fmt.Errorf("bit %q is not a number from 0 to 15", s)
	}
	return uint8(n), nil
}

// setFieldType takes the type that is written behind the bits of a register.
func (a *Address) setFieldType(name string) error {
	unsigned := name == "uint" || name == fmt.Sprintf("uint%d", a.Width)
	signed := name == "int" || name == fmt.Sprintf("int%d", a.Width)
	switch {
	case a.Width == 0 && name == typeNames[Bool]:
	case a.Width == 0:
		return fmt.Errorf("one bit is a bool, not %s", name)
	case unsigned:
		a.Type = Unsigned
	case signed:
		a.Type = Signed
	default:
		return fmt.Errorf("a field of %d bits is uint (the default) or int, not %s", a.Width, name)
	}
	return nil
}

// bytesOfRegister are the names of a register's halves: fields of eight bits.
var bytesOfRegister = []struct {
	name string
	typ  Type
	bit  uint8
}{
	{"int8l", Signed, 0},
	{"int8h", Signed, 8},
	{"uint8l", Unsigned, 0},
	{"uint8h", Unsigned, 8},
	{"int8", Signed, 0},
	{"uint8", Unsigned, 0},
}

// setByte takes the name of a half of a register.
func (a *Address) setByte(name string) bool {
	for _, half := range bytesOfRegister {
		if half.name == name {
			a.Type, a.Bit, a.Width = half.typ, half.bit, 8
			return true
		}
	}
	return false
}

// fieldString is how an address has a field.
func (a *Address) fieldString() string {
	for _, half := range bytesOfRegister {
		if a.Width == 8 && a.Type == half.typ && a.Bit == half.bit {
			return ":" + half.name
		}
	}
	switch a.Type {
	case Signed:
		return fmt.Sprintf(".%d-%d:%s", a.Bit, a.Bit+a.Width-1, typeNames[Signed])
	case Unsigned:
		return fmt.Sprintf(".%d-%d", a.Bit, a.Bit+a.Width-1)
	default:
		return fmt.Sprintf(".%d", a.Bit)
	}
}

func decodeUnsignedField(a *Address, b []byte) driver.Value {
	return driver.Uint64Value(uint64(binary.BigEndian.Uint16(b) & a.mask() >> a.Bit))
}

// decodeSignedField takes the field's highest bit as its sign (two's complement).
func decodeSignedField(a *Address, b []byte) driver.Value {
	n := int16(binary.BigEndian.Uint16(b) << (bitsPerRegister - a.Bit - a.Width))
	return driver.Int64Value(int64(n >> (bitsPerRegister - a.Width)))
}

func encodeBit(a Address, b []byte, v driver.Value) error {
	on, ok := v.AsBool()
	if !ok {
		return badValue(a, v, "true, false, 1 or 0")
	}
	if on {
		binary.BigEndian.PutUint16(b, a.mask())
	}
	return nil
}

// encodeField leaves the bits beside the field 0.
func encodeField(a Address, b []byte, v driver.Value) error {
	encode := encodeUnsignedBits
	if a.Type == Signed {
		encode = encodeSignedBits
	}
	if err := encode(a, b, v, int(a.Width)); err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b, binary.BigEndian.Uint16(b)<<a.Bit&a.mask())
	return nil
}
