package driver_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestValueKinds(t *testing.T) {
	for _, test := range []struct {
		v    driver.Value
		kind driver.Kind
		text string
		json string
	}{
		{driver.Value{}, driver.KindNull, "null", "null"},
		{driver.BoolValue(true), driver.KindBool, "true", "true"},
		{driver.BoolValue(false), driver.KindBool, "false", "false"},
		{driver.Int64Value(math.MinInt64), driver.KindInt64, "-9223372036854775808", "-9223372036854775808"},
		{driver.Uint64Value(math.MaxUint64), driver.KindUint64, "18446744073709551615", "18446744073709551615"},
		{driver.Float64Value(0.1), driver.KindFloat64, "0.1", "0.1"},
		{driver.Float64Value(1e300), driver.KindFloat64, "1e+300", "1e+300"},
		{driver.Float64Value(math.Inf(-1)), driver.KindFloat64, "-Inf", `"-Inf"`},
		{driver.Float64Value(math.NaN()), driver.KindFloat64, "NaN", `"NaN"`},
		{driver.StringValue("a\"\x00é"), driver.KindString, "a\"\x00é", `"a\"\u0000é"`},
		{driver.BytesValue([]byte{1, 0xff}), driver.KindBytes, "01ff", `"Af8="`},
	} {
		if test.v.Kind() != test.kind || test.v.String() != test.text {
			t.Errorf("%v %q, want %v %q", test.v.Kind(), test.v, test.kind, test.text)
		}
		if got, err := json.Marshal(test.v); err != nil || string(got) != test.json {
			t.Errorf("JSON of %v is %s, %v, want %s", test.v, got, err, test.json)
		}
		if !test.v.Equal(test.v) {
			t.Errorf("%v does not equal itself", test.v)
		}
	}
}

func TestValueOfAnotherKindIsZero(t *testing.T) {
	s, f := driver.StringValue("1"), driver.Float64Value(1)
	if s.Bool() || s.Int64() != 0 || s.Uint64() != 0 || s.Float64() != 0 || s.Bytes() != nil || f.Str() != "" || f.Int64() != 0 {
		t.Error("a getter of another kind gave something")
	}
}

func TestConversions(t *testing.T) {
	const none = -999
	for _, test := range []struct {
		v driver.Value
		i int64
		u uint64
		f float64
		b int // 0, 1 or none
	}{
		{driver.Int64Value(1), 1, 1, 1, 1},
		{driver.Int64Value(-1), -1, none & math.MaxUint64, -1, none},
		{driver.Uint64Value(1 << 63), none, 1 << 63, 1 << 63, none},
		{driver.Float64Value(0), 0, 0, 0, 0},
		{driver.Float64Value(2.5), none, none & math.MaxUint64, 2.5, none},
		{driver.Float64Value(1 << 63), none, 1 << 63, 1 << 63, none},
		{driver.Float64Value(-(1 << 63)), math.MinInt64, none & math.MaxUint64, -(1 << 63), none},
		{driver.Float64Value(math.Inf(1)), none, none & math.MaxUint64, math.Inf(1), none},
		{driver.BoolValue(true), none, none & math.MaxUint64, none, 1},
		{driver.StringValue("1"), none, none & math.MaxUint64, none, none},
	} {
		if i, ok := test.v.AsInt64(); ok != (test.i != none) || ok && i != test.i {
			t.Errorf("%v as int64: %d, %v", test.v, i, ok)
		}
		if u, ok := test.v.AsUint64(); ok != (test.u != none&math.MaxUint64) || ok && u != test.u {
			t.Errorf("%v as uint64: %d, %v", test.v, u, ok)
		}
		if f, ok := test.v.AsFloat64(); ok != (test.f != none) || ok && f != test.f {
			t.Errorf("%v as float64: %v, %v", test.v, f, ok)
		}
		if b, ok := test.v.AsBool(); ok != (test.b != none) || ok && b != (test.b == 1) {
			t.Errorf("%v as bool: %v, %v", test.v, b, ok)
		}
	}
	if _, ok := driver.Float64Value(math.NaN()).AsInt64(); ok {
		t.Error("NaN is a whole number")
	}
	if _, ok := driver.Float64Value(1 << 64).AsUint64(); ok {
		t.Error("2^64 fits 64 bits")
	}
}

func TestEqual(t *testing.T) {
	nan := driver.Float64Value(math.NaN())
	if !nan.Equal(driver.Float64Value(-math.NaN())) {
		t.Error("NaN does not equal NaN")
	}
	for _, pair := range [][2]driver.Value{
		{driver.Int64Value(1), driver.Uint64Value(1)},
		{driver.StringValue("a"), driver.BytesValue([]byte("a"))},
		{driver.Value{}, driver.BoolValue(false)},
		{driver.Float64Value(1), nan},
	} {
		if pair[0].Equal(pair[1]) {
			t.Errorf("%v %v equals %v %v", pair[0].Kind(), pair[0], pair[1].Kind(), pair[1])
		}
	}
}

func TestNumbersCostNoAllocation(t *testing.T) {
	out := make([]driver.Sample, 1000)
	if n := testing.AllocsPerRun(10, func() {
		for i := range out {
			out[i] = driver.GoodSample(driver.Float64Value(float64(i)))
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseValue holds ParseValue against what it prints.
func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"true", "null", "-1", "18446744073709551615", "1e999", "0x10", `"quoted"`, `"`, "NaN", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := driver.ParseValue(s)
		data, err := json.Marshal(v)
		if err != nil || !json.Valid(data) {
			t.Fatalf("JSON of %q: %s, %v", s, data, err)
		}
		if k := v.Kind(); k == driver.KindInt64 || k == driver.KindUint64 || k == driver.KindBool {
			if again := driver.ParseValue(v.String()); !again.Equal(v) {
				t.Errorf("%q is %v, and again %v", s, v, again)
			}
		}
	})
}
