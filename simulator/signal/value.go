package signal

import (
	"fmt"
	"math"
	"strconv"
)

type kind uint8

const (
	kindInt kind = iota
	kindUint
	kindFloat
	kindBool
	kindText
)

// Value is a number, a truth or a text. The zero Value is the integer 0.
type Value struct {
	kind kind
	bits uint64
	text string
}

// Int makes a Value of an integer.
func Int(v int64) Value { return Value{kind: kindInt, bits: uint64(v)} }

// Uint makes a Value of an integer that is never negative.
func Uint(v uint64) Value { return Value{kind: kindUint, bits: v} }

// Float makes a Value of a number.
func Float(v float64) Value { return Value{kind: kindFloat, bits: math.Float64bits(v)} }

// Text makes a Value of a string.
func Text(v string) Value { return Value{kind: kindText, text: v} }

// Bool makes a Value of a truth.
func Bool(v bool) Value {
	if v {
		return Value{kind: kindBool, bits: 1}
	}
	return Value{kind: kindBool}
}

// Of makes a Value of any Go number, bool or string.
func Of(v any) (Value, error) {
	switch v := v.(type) {
	case Value:
		return v, nil
	case bool:
		return Bool(v), nil
	case string:
		return Text(v), nil
	case float64:
		return Float(v), nil
	case float32:
		return Float(float64(v)), nil
	case uint64:
		return Uint(v), nil
	case uint:
		return Uint(uint64(v)), nil
	case int64:
		return Int(v), nil
	case int:
		return Int(int64(v)), nil
	case int8:
		return Int(int64(v)), nil
	case int16:
		return Int(int64(v)), nil
	case int32:
		return Int(int64(v)), nil
	case uint8:
		return Int(int64(v)), nil
	case uint16:
		return Int(int64(v)), nil
	case uint32:
		return Int(int64(v)), nil
	}
	return Value{}, fmt.Errorf("a %T is no value of a signal", v)
}

// Parse makes a Value of what stands in a file or a message: an integer, a number, true or
// false, or else a text.
func Parse(s string) Value {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Int(v)
	}
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		return Uint(v)
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return Float(v)
	}
	switch s {
	case "true":
		return Bool(true)
	case "false":
		return Bool(false)
	}
	return Text(s)
}

// Any returns the value as int64, uint64, float64, bool or string.
func (v Value) Any() any {
	switch v.kind {
	case kindUint:
		return v.bits
	case kindFloat:
		return math.Float64frombits(v.bits)
	case kindBool:
		return v.bits != 0
	case kindText:
		return v.text
	default:
		return int64(v.bits)
	}
}

// Bits returns the value as an integer of 64 bits, from which a smaller register takes the low
// ones: numbers are rounded to the nearest, and one too large for its register wraps around. A
// text is 0.
func (v Value) Bits() uint64 {
	if v.kind != kindFloat {
		return v.bits
	}
	f := math.RoundToEven(math.Float64frombits(v.bits))
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxUint64:
		return math.MaxUint64
	case f >= 0:
		return uint64(f)
	case f <= math.MinInt64:
		return 1 << 63
	}
	return uint64(int64(f))
}

// Float returns the value as a number. A text is NaN.
func (v Value) Float() float64 {
	switch v.kind {
	case kindFloat:
		return math.Float64frombits(v.bits)
	case kindInt:
		return float64(int64(v.bits))
	case kindText:
		return math.NaN()
	default:
		return float64(v.bits)
	}
}

// Bool reports whether the value is true: a number other than 0, or a text that is not empty.
func (v Value) Bool() bool {
	switch v.kind {
	case kindFloat:
		return math.Float64frombits(v.bits) != 0
	case kindText:
		return v.text != ""
	default:
		return v.bits != 0
	}
}

// IsText reports whether the value is a text.
func (v Value) IsText() bool { return v.kind == kindText }

// Append appends the value as people write it.
func (v Value) Append(to []byte) []byte {
	switch v.kind {
	case kindUint:
		return strconv.AppendUint(to, v.bits, 10)
	case kindFloat:
		return strconv.AppendFloat(to, math.Float64frombits(v.bits), 'g', -1, 64)
	case kindBool:
		return strconv.AppendBool(to, v.bits != 0)
	case kindText:
		return append(to, v.text...)
	default:
		return strconv.AppendInt(to, int64(v.bits), 10)
	}
}

// String returns the value as people write it.
func (v Value) String() string { return string(v.Append(nil)) }
