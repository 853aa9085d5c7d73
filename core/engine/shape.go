package engine

import (
	"math"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A shape is what lies between a device's value and the user's.
type shape struct {
	scale, offset float64
	scaled        bool
	band          float64
	banded        bool
}

// sent is the sample of a point that went out last.
type sent struct {
	value   driver.Value
	quality driver.Quality
	code    driver.Code
	valid   bool
	at      int64 // when it was, in Unix nanoseconds; 0: not known
}

func newShape(p *control.Point) (s shape, plain bool) {
	s.scale = 1
	if p.Scale != nil {
		s.scale, s.scaled = *p.Scale, true
	}
	if p.Offset != nil {
		s.offset, s.scaled = *p.Offset, true
	}
	if p.Deadband != nil {
		s.band, s.banded = *p.Deadband, true
	}
	return s, !s.scaled && !s.banded
}

// toUser scales a number; everything else stays as it is.
func (s *shape) toUser(v driver.Value) driver.Value {
	if !s.scaled {
		return v
	}
	f, ok := v.AsFloat64()
	if !ok {
		return v
	}
	product := f * s.scale
	return driver.Float64Value(settle(product+s.offset, max(math.Abs(product), math.Abs(s.offset))))
}

// settle takes away what the two operations of a scale add: 2301 times 0.1 is
// 230.10000000000002, and 230.1 is meant. It returns the decimal of 15 digits, counted from
// the first of the larger operand, where f is off it by no more than rounding explains,
// and otherwise f.
func settle(f, operand float64) float64 {
	const unit = 0x1p-50 // of each operand: the scale, the offset, the raw value and both results are rounded
	decimals := 14 - exponent(operand)
	if decimals < 0 || decimals >= len(powers) {
		return f
	}
	near := math.Round(f*powers[decimals]) / powers[decimals]
	if math.Abs(near-f) <= operand*unit {
		return near
	}
	return f
}

// powers are the powers of ten that a float64 holds exactly.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// exponent is the decimal exponent of a positive number, from -8 to 22 where it is in reach
// of powers, and beyond otherwise.
func exponent(f float64) int {
	switch {
	case f >= 1:
		for e, p := range powers {
			if f < p {
				return e - 1
			}
		}
		return len(powers)
	case f > 0:
		for e := 1; e <= 8; e++ {
			if f*powers[e] >= 1 {
				return -e
			}
		}
	}
	return -len(powers)
}

// toDevice is the reverse of toUser. A result that is off a whole number by no
// more than the rounding of the two operations is that number, so that what a
// person typed reaches an integer register.
func (s *shape) toDevice(v driver.Value) (driver.Value, error) {
	if !s.scaled {
		return v, nil
	}
	f, ok := v.AsFloat64()
	if !ok {
		return v, driver.Errorf(driver.BadValue, "a %v cannot be scaled: give a number", v.Kind())
	}
	raw := (f - s.offset) / s.scale
	const epsilon = 0x1p-50 // eight units in the last place
	if whole := math.Round(raw); math.Abs(raw-whole) <= epsilon*(math.Abs(f)+math.Abs(s.offset))/math.Abs(s.scale) {
		raw = whole
	}
	return driver.Float64Value(raw), nil
}

// hold reports whether the deadband holds a sample back, and otherwise remembers it; at is the
// time of one without a time.
func (s *shape) hold(last *sent, now *driver.Sample, at int64) bool {
	if last.valid && last.quality == now.Quality && s.near(last, now) {
		return true
	}
	if !now.Time.IsZero() {
		at = now.Time.UnixNano()
	}
	*last = sent{value: now.Value, quality: now.Quality, code: codeOf(now.Fault), valid: true, at: at}
	return false
}

func (s *shape) near(last *sent, now *driver.Sample) bool {
	if now.Quality == driver.Bad {
		return last.code == codeOf(now.Fault)
	}
	if last.value.Equal(now.Value) {
		return true
	}
	a, isNumber := last.value.AsFloat64()
	b, isNumberToo := now.Value.AsFloat64()
	// A difference with NaN is NaN, which is not within the band.
	return isNumber && isNumberToo && math.Abs(a-b) <= s.band
}

func codeOf(e *driver.Error) driver.Code {
	if e == nil {
		return driver.OK
	}
	return e.Code
}

// bounded checks a value to be written against the point's bounds.
func bounded(p *control.Point, v driver.Value) error {
	if p.Min == nil && p.Max == nil {
		return nil
	}
	f, ok := v.AsFloat64()
	switch {
	case !ok:
		return driver.Errorf(driver.BadValue, "a %v cannot be compared with the point's bounds: give a number", v.Kind())
	case math.IsNaN(f):
		return driver.Errorf(driver.BadValue, "NaN is not within the point's bounds")
	case p.Min != nil && f < *p.Min:
		return driver.Errorf(driver.BadValue, "%v is less than the point's minimum of %v", f, *p.Min)
	case p.Max != nil && f > *p.Max:
		return driver.Errorf(driver.BadValue, "%v is more than the point's maximum of %v", f, *p.Max)
	}
	return nil
}
