package driver

import (
	"math"
	"strconv"
)

// widen returns the float64 nearest to the shortest decimal that reads as v.
func widen(v float32) float64 {
	f := float64(v)
	abs := math.Abs(f)
	if f == math.Trunc(f) && abs < 1<<24 { // also 0
		return f
	}
	if abs < 1e-6 || abs >= 1<<24 || f != f {
		return widenText(v)
	}
	// 6 to 9 digits are enough for any float32. A whole number below 2^53 and a power of
	// ten up to 10^22 are exact, so their quotient is the float64 nearest to the decimal.
	scale := 1e6
	for p := 1e-1; abs < p; p /= 10 {
		scale *= 10
	}
	for p := 1.0; abs >= p; p *= 10 {
		scale /= 10
	}
	for range 4 {
		if near := math.RoundToEven(f*scale) / scale; float32(near) == v {
			return near
		}
		scale *= 10
	}
	return widenText(v)
}

// widenText is widen for the rare numbers that are very large or very small, and NaN.
func widenText(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil { // it was formatted so
		return float64(v)
	}
	return f
}
