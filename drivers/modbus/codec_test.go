package modbus_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

func mustParse(t testing.TB, s string) modbus.Address {
	t.Helper()
	a, err := modbus.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCodec(t *testing.T) {
	for _, test := range codecTests {
		a := mustParse(t, test.address)
		registers := unhex(t, test.registers)
		sample := modbus.Decode(a, bytes.Clone(registers))
		if !sample.Value.Equal(test.value) || sample.Quality != driver.Good {
			t.Errorf("%s: % X decodes to %v (%v), want %v", test.address, registers, sample.Value, sample.Quality, test.value)
		}
		again, encoded, err := modbus.RoundTrip(a, test.value)
		if err != nil || !bytes.Equal(encoded, registers) || !again.Value.Equal(test.value) {
			t.Errorf("%s: %v encodes to % X, want % X (%v)", test.address, test.value, encoded, registers, err)
		}
	}
}

// Points may lie in the same registers with different orders.
func TestDecodeLeavesRegisters(t *testing.T) {
	registers := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, order := range []string{"abcd", "cdab", "badc", "dcba"} {
		modbus.Decode(mustParse(t, "holding:0:uint64:"+order), registers)
		if diff := cmp.Diff([]byte{1, 2, 3, 4, 5, 6, 7, 8}, registers); diff != "" {
			t.Fatalf("%s changed the registers:\n%s", order, diff)
		}
	}
}

func TestNonzeroRegisterIsTrue(t *testing.T) {
	if s := modbus.Decode(mustParse(t, "holding:0:bool"), []byte{1, 0}); !s.Value.Bool() {
		t.Errorf("0x0100 is %v", s.Value)
	}
}

// What a type ignores, or a field has beside it.
func TestDecodeOnly(t *testing.T) {
	text := driver.StringValue
	for _, test := range []struct {
		address, registers string
		want               driver.Value
	}{
		{"holding:0.2-3", "FB 0A", u64(2)},
		{"holding:0.8-15:int8", "FB 0A", driver.Int64Value(-5)},
		{"holding:0:int8h", "FB 0A", driver.Int64Value(-5)},
		{"holding:0:int8", "FB 0A", driver.Int64Value(10)},
		{"holding:0:uint8h:badc", "FB 0A", u64(10)},
		{"holding:0.4-6:int", "FF CF", driver.Int64Value(-4)},
		{"holding:0.0-0:int", "00 01", driver.Int64Value(-1)},
		{"holding:0.15-15", "7F FF", u64(0)},
		{"holding:0:int24", "5A 80 00 01", driver.Int64Value(-8388607)},
		{"holding:0:uint24", "5A 80 00 01", u64(0x800001)},
		{"holding:0:uint24:dcba", "01 00 80 5A", u64(0x800001)},
		{"holding:0:string:16", hexOf("V11.04.00\x00V1.04\x00"), text("V11.04.00")},
		{"holding:0:string:16", hexOf("SMA Solar       "), text("SMA Solar")},
		{"holding:0:string:8", hexOf("a b   \x00\xFF"), text("a b")},
		{"holding:0:string:4", hexOf("    "), text("")},
		{"holding:0:string:4", hexOf("  ab"), text("  ab")},
		{"holding:0:string:4:dcba", hexOf("ba  "), text("ab")},
		{"holding:0:ascii:4", hexOf("ab\x00\xFF"), text("ab")},
		{"holding:0:latin1:6", hexOf("21\xB0C  "), text("21\u00b0C")},
		{"holding:0:cp56", "FF 9A FC E1 E6 76 66 0B", text("2026-12-01T06:54:26.123")}, // reserved bits, summer, the weekday
	} {
		s := modbus.Decode(mustParse(t, test.address), unhex(t, test.registers))
		if !s.Value.Equal(test.want) || s.Quality != driver.Good || s.Fault != nil {
			t.Errorf("%s: %s is %v (%v, %v), want %v", test.address, test.registers, s.Value, s.Quality, s.Fault, test.want)
		}
	}
}

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

func TestContentsThatAreNoValue(t *testing.T) {
	for _, test := range []struct{ address, registers, want string }{
		{"holding:0:bcd16", "12 A4", "the device sends 12 A4"},
		{"holding:0:bcd16", "FF FF", "no BCD, which has digits from 0 to 9"},
		{"holding:0:bcd32:cdab", "56 78 12 3F", "the device sends 12 3F 56 78"},
		{"holding:0:string:4", "61 FF 62 00", "the text is not UTF-8: the device sends 61 FF 62: read it as latin1"},
		{"holding:0:string:2", "C3 20", "not UTF-8"},
		{"holding:0:ascii:4", "61 C3 A4 00", "the text is not ASCII: the device sends 61 C3 A4"},
		{"holding:0:string:40", strings.Repeat("FF", 40), "FF ... (40 bytes)"},
		{"holding:0:epoch64", "00 00 00 3A FF F4 41 80", "253402300800 seconds since 1970"},
		{"holding:0:epoch64", "80 00 00 00 00 00 00 00", "are no time"},
		{"holding:0:epoch64ms", "7F FF FF FF FF FF FF FF", "ms since 1970 are no time"},
		{"holding:0:cp56", "00 1A 0C 01 06 B6 66 0B", "marks its time as invalid (IV): it sends 00 1A 0C 01 06 B6 66 0B"},
		{"holding:0:cp56", "00 1A 0D 01 06 36 66 0B", "month 13"},
		{"holding:0:cp56", "00 00 00 00 00 00 00 00", "month 0, day 0"},
		{"holding:0:cp56", "00 1A 02 1D 06 36 66 0B", "month 2, day 29"}, // 2026 is no leap year
		{"holding:0:cp56", "00 1A 0C 00 06 36 66 0B", "day 0"},
		{"holding:0:cp56", "00 1A 0C 01 18 36 66 0B", "hour 24"},
		{"holding:0:cp56", "00 1A 0C 01 06 3C 66 0B", "minute 60"},
		{"holding:0:cp56", "00 1A 0C 01 06 36 EA 60", "60000 ms"},
		{"holding:0:cp56", "00 64 0C 01 06 36 66 0B", "year 100"},
		{"holding:0:cp56:dcba", "0B 66 3C 06 01 0C 1A 00", "the device sends 00 1A 0C 01 06 3C 66 0B"},
	} {
		registers := unhex(t, test.registers)
		s := modbus.Decode(mustParse(t, test.address), registers)
		if s.Quality != driver.Bad || s.Value.Kind() != driver.KindNull || s.Fault == nil {
			t.Errorf("%s: %s is %v %v", test.address, test.registers, s.Quality, s.Value)
			continue
		}
		mustFail(t, s.Fault, driver.Protocol, test.want)
		if !bytes.Equal(registers, unhex(t, test.registers)) {
			t.Errorf("%s changed the registers", test.address)
		}
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	f, text := driver.Float64Value, driver.StringValue
	tests := []struct {
		address string
		value   driver.Value
		want    string
	}{
		{"holding:0:int16", driver.Int64Value(32768), "32768 does not fit int16, which takes a whole number from -32768 to 32767"},
		{"holding:0:int16", driver.Int64Value(-32769), "does not fit int16"},
		{"holding:0:uint16", driver.Int64Value(-1), "-1 does not fit uint16, which takes a whole number from 0 to 65535"},
		{"holding:0:uint16", u64(65536), "does not fit"},
		{"holding:0:float32", f(1e-46), "it would be written as 0"},
		{"holding:0:uint16", f(1.5), "1.5 does not fit uint16"},
		{"holding:0:uint16", yes, "true does not fit"},
		{"holding:0:uint16", text("12"), `"12" does not fit`},
		{"holding:0:uint16", driver.Value{}, "null does not fit"},
		{"holding:0:int32", f(1e10), "from -2147483648 to 2147483647"},
		{"holding:0:uint32", u64(1 << 32), "from 0 to 4294967295"},
		{"holding:0:int64", u64(1 << 63), "from -9223372036854775808 to 9223372036854775807"},
		{"holding:0:uint64", driver.Int64Value(-1), "from 0 to 18446744073709551615"},
		{"holding:0:uint64", f(math.NaN()), "does not fit"},
		{"holding:0:float32", f(1e39), "does not fit float32, which takes a number from -3.40"},
		{"holding:0:float32", text("x"), "does not fit float32"},
		{"holding:0:float64", yes, "does not fit float64, which takes a number"},
		{"holding:0:bool", u64(2), "2 does not fit bool, which takes true, false, 1 or 0"},
		{"holding:0:string:4", text("abcde"), "text of 5 bytes does not fit 4"},
		{"holding:0:string:4", text("a\x00b"), "zero byte"},
		{"holding:0:string:4", u64(1), "does not fit string, which takes text"},
		{"holding:0.2-3", u64(4), "4 does not fit uint of bits 2-3, which takes a whole number from 0 to 3"},
		{"holding:0.4-6:int", driver.Int64Value(-5), "-5 does not fit int of bits 4-6, which takes a whole number from -4 to 3"},
		{"holding:0:int8h", u64(128), "from -128 to 127"},
		{"holding:0:uint8", driver.Int64Value(-1), "from 0 to 255"},
		{"holding:0:int24", u64(1 << 23), "from -8388608 to 8388607"},
		{"holding:0:uint24", u64(1 << 24), "from 0 to 16777215"},
		{"holding:0:uint48", u64(1 << 48), "from 0 to 281474976710655"},
		{"holding:0:int48", u64(1 << 47), "to 140737488355327"},
		{"holding:0:bcd16", u64(10000), "10000 does not fit bcd16, which takes a whole number from 0 to 9999"},
		{"holding:0:bcd32", driver.Int64Value(-1), "from 0 to 99999999"},
		{"holding:0:ascii:4", text("\u00e4"), "cannot be written as ascii, which does not have it"},
		{"holding:0:latin1:4", text("\u20ac"), "cannot be written as latin1"},
		{"holding:0:latin1:4", text("\xff"), "cannot be written as latin1"},
		{"holding:0:string:4", text("\xff"), "not UTF-8: FF"},
		{"holding:0:latin1:3", text("\u00b0\u00b0\u00b0\u00b0"), "text of 4 bytes does not fit 3"},
		{"holding:0:epoch32", u64(1), "which takes a time of RFC 3339 in whole seconds"},
		{"holding:0:epoch32", text("1969-12-31T23:59:59Z"), "from 1970 to 2106"},
		{"holding:0:epoch32", text("2106-02-07T06:28:16Z"), "from 1970 to 2106"},
		{"holding:0:epoch64", text("2023-11-14T22:13:20.5Z"), "in whole seconds"},
		{"holding:0:epoch64ms", text("2023-11-14T22:13:20.0005Z"), "in whole milliseconds"},
		{"holding:0:epoch64", text("9999-12-31T23:59:59-01:00"), "a time of RFC 3339"},
		{"holding:0:epoch64", text("tomorrow"), "a time of RFC 3339"},
		{"holding:0:cp56", text("2026-12-01T06:54:26Z"), "without a zone"},
		{"holding:0:cp56", text("1999-12-31T23:59:59"), "from 2000 to 2099"},
		{"holding:0:cp56", text("2026-12-01T06:54:26.1234"), "in whole milliseconds"},
		{"holding:0:bytes:4", driver.BytesValue([]byte{1}), "exactly 4 bytes"},
		{"holding:0:bytes:4", text("abcd"), "exactly 4 bytes"},
	}
	for _, test := range tests {
		_, _, err := modbus.RoundTrip(mustParse(t, test.address), test.value)
		if err == nil {
			t.Errorf("%s takes %v", test.address, test.value)
			continue
		}
		mustFail(t, err, driver.BadValue, test.want)
	}
}

// Scaling leaves 233.99999999999997 where the user means 234; half a step is a fraction.
func TestWhatScalingLeaves(t *testing.T) {
	a := mustParse(t, "holding:0:uint32")
	for in, want := range map[float64]uint64{23.4 / 0.1: 234, 0.3 / 0.1: 3, 4e9: 4e9, 1e-12: 0} {
		s, _, err := modbus.RoundTrip(a, driver.Float64Value(in))
		if err != nil || s.Value.Uint64() != want {
			t.Errorf("%v is written as %v, want %d (%v)", in, s.Value, want, err)
		}
	}
	for _, in := range []float64{0.001, 234.0001, 4e9 - 0.5} {
		if _, _, err := modbus.RoundTrip(a, driver.Float64Value(in)); err == nil {
			t.Errorf("%v was taken as whole", in)
		}
	}
}

// lossyTypes have bits that are no part of the value, or padding.
var lossyTypes = []modbus.Type{
	modbus.Bool, modbus.Bit, modbus.Unsigned, modbus.Signed, modbus.Int24, modbus.Uint24,
	modbus.String, modbus.ASCII, modbus.Latin1, modbus.CP56,
}

// Whatever registers hold, a Good value of theirs is written back as the same
// registers, but for what a type cannot tell apart.
func FuzzCodec(f *testing.F) {
	for _, test := range codecTests {
		f.Add(test.address, unhex(f, test.registers))
	}
	f.Add("holding:0.4-6:int", []byte{0xFF, 0xCF})
	f.Add("holding:0:cp56", []byte{0xFF, 0x9A, 0xFC, 0xE1, 0xE6, 0x76, 0x66, 0x0B})
	f.Add("holding:0:latin1:4", []byte("a\xB0 \x00"))
	f.Fuzz(func(t *testing.T, address string, registers []byte) {
		a, err := modbus.ParseAddress(address)
		if err != nil || a.Table != modbus.Holding || len(registers) != 2*modbus.Items(a) {
			return
		}
		s := modbus.Decode(a, bytes.Clone(registers))
		if s.Quality != driver.Good {
			if s.Fault == nil || s.Value.Kind() != driver.KindNull {
				t.Fatalf("%s: % X is %v %v without a fault", address, registers, s.Quality, s.Value)
			}
			return
		}
		again, encoded, err := modbus.RoundTrip(a, s.Value)
		if err != nil {
			t.Fatalf("%s: % X is %v, which cannot be written: %v", address, registers, s.Value, err)
		}
		if !again.Value.Equal(s.Value) {
			t.Fatalf("%s: %v comes back as %v", address, s.Value, again.Value)
		}
		lossy := slices.Contains(lossyTypes, a.Type) || a.Size%2 == 1 ||
			s.Value.Kind() == driver.KindFloat64 && math.IsNaN(s.Value.Float64())
		if !lossy && !bytes.Equal(encoded, registers) {
			t.Fatalf("%s: % X comes back as % X", address, registers, encoded)
		}
		if s.Value.Kind() == driver.KindString && strings.ContainsRune(s.Value.Str(), 0) {
			t.Fatalf("%s: text with a zero byte", address)
		}
	})
}
