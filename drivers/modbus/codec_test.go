package modbus_test

import (
	"bytes"
	"math"
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

func TestTextThatIsNotUTF8(t *testing.T) {
	s := modbus.Decode(mustParse(t, "holding:0:string:4"), []byte{'a', 0xFF, 'b', 0})
	if s.Quality != driver.Uncertain || s.Value.Str() != "a\uFFFDb" || driver.CodeOf(s.Fault) != driver.Protocol {
		t.Errorf("sample %+v", s)
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

// Whatever registers hold, a Good value of theirs is written back as the same
// registers, but for what a type cannot tell apart.
func FuzzCodec(f *testing.F) {
	for _, test := range codecTests {
		f.Add(test.address, unhex(f, test.registers))
	}
	f.Fuzz(func(t *testing.T, address string, registers []byte) {
		a, err := modbus.ParseAddress(address)
		if err != nil || a.Table != modbus.Holding || a.Type == modbus.Bit || len(registers) != 2*modbus.Items(a) {
			return
		}
		s := modbus.Decode(a, bytes.Clone(registers))
		if s.Quality != driver.Good {
			return
		}
		again, encoded, err := modbus.RoundTrip(a, s.Value)
		if err != nil {
			t.Fatalf("%s: % X is %v, which cannot be written: %v", address, registers, s.Value, err)
		}
		if !again.Value.Equal(s.Value) {
			t.Fatalf("%s: %v comes back as %v", address, s.Value, again.Value)
		}
		lossy := a.Type == modbus.Bool || a.Type == modbus.String || a.Size%2 == 1 ||
			s.Value.Kind() == driver.KindFloat64 && math.IsNaN(s.Value.Float64())
		if !lossy && !bytes.Equal(encoded, registers) {
			t.Fatalf("%s: % X comes back as % X", address, registers, encoded)
		}
		if s.Value.Kind() == driver.KindString && strings.ContainsRune(s.Value.Str(), 0) {
			t.Fatalf("%s: text with a zero byte", address)
		}
	})
}
