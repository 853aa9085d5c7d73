package modbus

import (
	"encoding/binary"
	"math"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Type is how a value lies in registers.
type Type uint8

// The types. Uint16 is the default.
const (
	Uint16 Type = iota
	Int16
	Uint32
	Int32
	Uint64
	Int64
	Float32
	Float64
	Bool
	String
	types
)

// Types returns the names of the types, each at its index.
func Types() []string {
	return []string{"uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bool", "string"}
}

func (t Type) words(length int) int {
	switch t {
	case Uint32, Int32, Float32:
		return 2
	case Uint64, Int64, Float64:
		return 4
	case String:
		return (length + 1) / 2
	default:
		return 1
	}
}

// Order is the order of the bytes and words of a value that is written ABCD in big-endian
// order. Words are turned around within the whole value, bytes within each word, so that BADC
// and DCBA swap the two bytes of a 16-bit register too. The bytes of a string are swapped
// within words, its words never.
type Order uint8

// The orders. ABCD is the default.
const (
	ABCD Order = iota
	CDAB       // words swapped
	BADC       // bytes swapped
	DCBA       // both
	orders
)

// Orders returns the names of the orders, each at its index.
func Orders() []string { return []string{"abcd", "cdab", "badc", "dcba"} }

func (o Order) swapsWords() bool { return o == CDAB || o == DCBA }
func (o Order) swapsBytes() bool { return o == BADC || o == DCBA }

// encode fills b, which has two bytes for each of the point's registers.
func encode(b []byte, p *Point, v signal.Value) {
	switch p.Type {
	case Uint32, Int32:
		binary.BigEndian.PutUint32(b, uint32(v.Bits()))
	case Uint64, Int64:
		binary.BigEndian.PutUint64(b, v.Bits())
	case Float32:
		binary.BigEndian.PutUint32(b, math.Float32bits(float32(v.Float())))
	case Float64:
		binary.BigEndian.PutUint64(b, math.Float64bits(v.Float()))
	case Bool:
		b[0], b[1] = 0, 0
		if v.Bool() {
			b[1] = 1
		}
	case String:
		clear(b)
		copy(b[:p.Length], v.String())
	default:
		binary.BigEndian.PutUint16(b, uint16(v.Bits()))
	}
	arrange(b, p)
}

// arrange turns big-endian order into the point's, or back: both are the same swaps.
func arrange(b []byte, p *Point) {
	if p.Order == ABCD {
		return
	}
	if p.Order.swapsWords() && p.Type != String {
		for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
			b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
		}
	}
	if p.Order.swapsBytes() {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
}

// decode is the reverse of encode. It may change b.
func decode(b []byte, p *Point) signal.Value {
	arrange(b, p)
	switch p.Type {
	case Int16:
		return signal.Int(int64(int16(binary.BigEndian.Uint16(b))))
	case Uint32:
		return signal.Uint(uint64(binary.BigEndian.Uint32(b)))
	case Int32:
		return signal.Int(int64(int32(binary.BigEndian.Uint32(b))))
	case Uint64:
		return signal.Uint(binary.BigEndian.Uint64(b))
	case Int64:
		return signal.Int(int64(binary.BigEndian.Uint64(b)))
	case Float32:
		return signal.Float(float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
	case Float64:
		return signal.Float(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case Bool:
		return signal.Bool(binary.BigEndian.Uint16(b) != 0)
	case String:
		b = b[:p.Length]
		for len(b) > 0 && b[len(b)-1] == 0 {
			b = b[:len(b)-1]
		}
		return signal.Text(string(b))
	default:
		return signal.Uint(uint64(binary.BigEndian.Uint16(b)))
	}
}
