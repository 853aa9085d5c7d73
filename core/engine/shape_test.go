package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A scaled number has the decimals that its raw value, scale and offset have, and none that
// the arithmetic adds.
func TestScaledNumbersHaveNoDigitsOfTheArithmetic(t *testing.T) {
	ptr := func(f float64) *float64 { return &f }
	for _, test := range []struct {
		raw           driver.Value
		scale, offset *float64
		want          string
	}{
		{driver.Int64Value(232), ptr(0.1), nil, "23.2"},
		{driver.Uint64Value(2301), ptr(0.1), nil, "230.1"},
		{driver.Int64Value(3), ptr(0.3), nil, "0.9"},
		{driver.Int64Value(1), ptr(0.1), ptr(0.2), "0.3"},
		{driver.Int64Value(-7), ptr(0.15), nil, "-1.05"},
		{driver.Int64Value(1000003), ptr(0.1), ptr(-100000), "0.3"},
		{driver.Int64Value(0), ptr(0.1), nil, "0"},
		{driver.Float64Value(2.3), ptr(0.1), nil, "0.23"},
		{driver.Float32Value(232.29022), ptr(0.1), nil, "23.229022"},
		{driver.Uint64Value(1 << 53), ptr(1), nil, "9007199254740992"},
		{driver.Int64Value(7), ptr(1e-12), nil, "7e-12"},
	} {
		s, _ := newShape(&control.Point{Scale: test.scale, Offset: test.offset})
		if got := s.toUser(test.raw).String(); got != test.want {
			t.Errorf("%v scaled by %v and moved by %v is %s, want %s", test.raw, *test.scale, test.offset, got, test.want)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		raw, decimals := random.IntN(1<<32)-1<<31, 1+random.IntN(4)
		step := 1 + random.IntN(99)
		scale, _ := strconv.ParseFloat(fmt.Sprintf("%de-%d", step, decimals), 64)
		s, _ := newShape(&control.Point{Scale: &scale})
		want, _ := strconv.ParseFloat(fmt.Sprintf("%de-%d", raw*step, decimals), 64)
		if got := s.toUser(driver.Int64Value(int64(raw))).Float64(); got != want {
			t.Fatalf("%d scaled by %v is %v, want %v", raw, scale, got, want)
		}
	}
}

// What has more digits than a decimal of 15 stays within what rounding explains.
func TestScalingMovesNoNumber(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200_000 {
		raw, scale, offset := random.NormFloat64()*1e3, random.ExpFloat64(), random.NormFloat64()
		s, _ := newShape(&control.Point{Scale: &scale, Offset: &offset})
		plain := raw*scale + offset
		if got := s.toUser(driver.Float64Value(raw)).Float64(); math.Abs(got-plain) > 0x1p-50*max(math.Abs(raw*scale), math.Abs(offset)) {
			t.Fatalf("%v*%v+%v is %v, want %v", raw, scale, offset, got, plain)
		}
	}
}

func BenchmarkScale(b *testing.B) {
	scale := 0.1
	s, _ := newShape(&control.Point{Scale: &scale})
	for b.Loop() {
		_ = s.toUser(driver.Int64Value(2321))
	}
}
