package driver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds. The numbers cross the wire: the list is append-only.
const (
	KindNull Kind = iota
	KindBool
	KindInt64
	KindUint64
	KindFloat64
	KindString
	KindBytes
)

var kindNames = [...]string{"null", "bool", "int64", "uint64", "float64", "string", "bytes"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// A Value is a bool, int64, uint64, float64, string, []byte or null. Like slog.Value it is a
// small struct: making one of a number costs no allocation. The zero Value is null. A Value is
// immutable; the bytes of a bytes Value must not be changed.
type Value struct {
	num uint64
	any any // a Kind for null, bool and numbers; else the string or []byte itself
}

// BoolValue returns a bool.
func BoolValue(v bool) Value {
	if v {
		return Value{1, KindBool}
	}
	return Value{0, KindBool}
}

// Int64Value returns a signed integer.
func Int64Value(v int64) Value { return Value{uint64(v), KindInt64} }

// Uint64Value returns an unsigned integer.
func Uint64Value(v uint64) Value { return Value{v, KindUint64} }

// Float64Value returns a floating point number.
func Float64Value(v float64) Value { return Value{math.Float64bits(v), KindFloat64} }

// Float32Value returns the float64 that reads as v does: 232.29022 for the float32 that
// float64(v) makes 232.29021911621094 of. float32 of it is v again. A driver whose device
// sends four bytes uses it, so that nothing shows digits that the device does not have.
func Float32Value(v float32) Value { return Float64Value(widen(v)) }

// StringValue returns a text.
func StringValue(v string) Value { return Value{0, v} }

// BytesValue returns raw bytes, which it keeps.
func BytesValue(v []byte) Value { return Value{0, v} }

// Kind returns the type of v.
func (v Value) Kind() Kind {
	switch a := v.any.(type) {
	case Kind:
		return a
	case string:
		return KindString
	case []byte:
		return KindBytes
	default:
		return KindNull
	}
}

// Bool returns a bool Value's bool, and false for any other kind.
func (v Value) Bool() bool { return v.Kind() == KindBool && v.num != 0 }

// Int64 returns an int64 Value's number, and 0 for any other kind.
func (v Value) Int64() int64 {
	if v.Kind() != KindInt64 {
		return 0
	}
	return int64(v.num)
}

// Uint64 returns a uint64 Value's number, and 0 for any other kind.
func (v Value) Uint64() uint64 {
	if v.Kind() != KindUint64 {
		return 0
	}
	return v.num
}

// Float64 returns a float64 Value's number, and 0 for any other kind.
func (v Value) Float64() float64 {
	if v.Kind() != KindFloat64 {
		return 0
	}
	return math.Float64frombits(v.num)
}

// Str returns a string Value's text, and "" for any other kind.
func (v Value) Str() string {
	s, _ := v.any.(string)
	return s
}

// Bytes returns a bytes Value's bytes, and nil for any other kind.
func (v Value) Bytes() []byte {
	b, _ := v.any.([]byte)
	return b
}

// AsInt64 converts a number without loss: ok is false for a fraction, a number
// out of range, and anything that is not a number.
func (v Value) AsInt64() (n int64, ok bool) {
	switch v.Kind() {
	case KindInt64:
		return int64(v.num), true
	case KindUint64:
		return int64(v.num), v.num <= math.MaxInt64
	case KindFloat64:
		f := v.Float64()
		if f != math.Trunc(f) || f < -(1<<63) || f >= 1<<63 {
			return 0, false
		}
		return int64(f), true
	default:
		return 0, false
	}
}

// AsUint64 is AsInt64 for unsigned numbers.
func (v Value) AsUint64() (n uint64, ok bool) {
	switch v.Kind() {
	case KindInt64:
		return v.num, int64(v.num) >= 0
	case KindUint64:
		return v.num, true
	case KindFloat64:
		f := v.Float64()
		if f != math.Trunc(f) || f < 0 || f >= 1<<64 {
			return 0, false
		}
		return uint64(f), true
	default:
		return 0, false
	}
}

// AsFloat64 converts any number to the nearest float64; ok is false for anything
// that is not a number.
func (v Value) AsFloat64() (f float64, ok bool) {
	switch v.Kind() {
	case KindInt64:
		return float64(int64(v.num)), true
	case KindUint64:
		return float64(v.num), true
	case KindFloat64:
		return v.Float64(), true
	default:
		return 0, false
	}
}

// AsBool takes a bool, and 0 and 1 of any number.
func (v Value) AsBool() (b, ok bool) {
	if v.Kind() == KindBool {
		return v.Bool(), true
	}
	f, isNumber := v.AsFloat64()
	return f == 1, isNumber && (f == 0 || f == 1)
}

// Equal reports whether both are of the same kind and hold the same. NaN equals NaN, so that a
// deadband does not report it for ever.
func (v Value) Equal(w Value) bool {
	k := v.Kind()
	if k != w.Kind() {
		return false
	}
	switch k {
	case KindNull:
		return true
	case KindString:
		return v.Str() == w.Str()
	case KindBytes:
		return string(v.Bytes()) == string(w.Bytes())
	case KindFloat64:
		f, g := v.Float64(), w.Float64()
		return f == g || (f != f && g != g)
	default:
		return v.num == w.num
	}
}

// String formats v for people: bytes in hexadecimal, null as "null".
func (v Value) String() string {
	switch v.Kind() {
	case KindBool:
		return strconv.FormatBool(v.Bool())
	case KindInt64:
		return strconv.FormatInt(v.Int64(), 10)
	case KindUint64:
		return strconv.FormatUint(v.Uint64(), 10)
	case KindFloat64:
		return string(appendFloat(nil, v.Float64()))
	case KindString:
		return v.Str()
	case KindBytes:
		return fmt.Sprintf("%x", v.Bytes())
	default:
		return "null"
	}
}

// MarshalJSON writes numbers as JSON numbers, bytes as base64, and NaN and the
// infinities, which JSON lacks, as the strings "NaN", "+Inf" and "-Inf".
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// AppendJSON appends v as MarshalJSON writes it.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.Kind() {
	case KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case KindInt64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case KindUint64:
		return strconv.AppendUint(dst, v.Uint64(), 10)
	case KindFloat64:
		f := v.Float64()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(appendFloat(append(dst, '"'), f), '"')
		}
		return appendFloat(dst, f)
	case KindString:
		return appendJSONString(dst, v.Str())
	case KindBytes:
		return strconv.AppendQuote(dst, base64.StdEncoding.EncodeToString(v.Bytes()))
	default:
		return append(dst, "null"...)
	}
}

// appendFloat appends the shortest text that reads as f, without an exponent unless the
// number is very large or very small.
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

func appendJSONString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s) // a string always marshals
			return appendPlain(dst, string(quoted))
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendPlain appends JSON with escapes in place of the characters that a terminal obeys:
// a device may send any.
func appendPlain(dst []byte, quoted string) []byte {
	for _, r := range quoted {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// ParseValue reads a value as a person types it: true, false, null, a whole number, a number, a
// JSON string in quotes, and anything else as text.
func ParseValue(s string) Value {
	switch s {
	case "true":
		return BoolValue(true)
	case "false":
		return BoolValue(false)
	case "null":
		return Value{}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Int64Value(n)
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return Uint64Value(n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return Float64Value(f)
	}
	var text string
	if len(s) > 1 && s[0] == '"' && json.Unmarshal([]byte(s), &text) == nil {
		return StringValue(text)
	}
	return StringValue(s)
}
