package driver_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

// What a device sends as four bytes reads as four bytes do, everywhere.
func TestFloat32ValueReadsAsTheFloat32(t *testing.T) {
	check := func(v float32) {
		t.Helper()
		got := driver.Float32Value(v)
		if back := float32(got.Float64()); math.Float32bits(back) != math.Float32bits(v) && v == v {
			t.Fatalf("%v became %v: as a float32 it is %v", v, got, back)
		}
		want, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
		if whole := float64(v); whole == math.Trunc(whole) && math.Abs(whole) < 1<<24 {
			want = whole
		}
		if got.Float64() != want && v == v {
			t.Fatalf("%b reads %v, want %v", v, got, want)
		}
	}
	for _, v := range []float32{0, 1, -1, 0.1, 232.29022, 1e-7, 1e30, math.MaxFloat32, math.SmallestNonzeroFloat32, 16777217, 8388607.5, 999999.94, 1e6,
		float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1)), 1.1754944e-38} {
		check(v)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		check(math.Float32frombits(random.Uint32()))
		check(float32(random.NormFloat64() * math.Pow(10, float64(random.IntN(10)-3))))
	}
	if s := driver.Float32Value(232.29022216796875).String(); s != "232.29022" {
		t.Errorf("reads %s", s)
	}
}

func TestNumbersForPeopleHaveNoExponentWithoutNeed(t *testing.T) {
	for f, want := range map[float64]string{1234567: "1234567", 12345678.9: "12345678.9", 0.00001: "0.00001", 1e21: "1e+21", 1e-7: "1e-07", math.Inf(-1): "-Inf"} {
		if got := driver.Float64Value(f).String(); got != want {
			t.Errorf("%g reads %s, want %s", f, got, want)
		}
	}
}

func BenchmarkFloat32Value(b *testing.B) {
	v := float32(232.29022)
	for b.Loop() {
		_ = driver.Float32Value(v)
	}
}
