package engine

import (
	"math"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A shape is what lies between a device's value and the user's.
type shape struct {
	scale, offset float64
	divisor       float64 // what to divide by instead of multiplying by scale; 0: nothing
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
}

func newShape(p *Point) (s shape, plain bool) {
	s.scale = 1
	if p.Scale != nil {
		s.scale, s.scaled = *p.Scale, true
		// 2301 times 0.1 is 230.10000000000002, and 2301 by 10 is 230.1.
		if whole := math.Round(1 / s.scale); math.Abs(whole) > 1 && 1/whole == s.scale {
			s.divisor = whole
		}
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
	switch {
	case !ok:
		return v
	case s.divisor != 0:
		return driver.Float64Value(f/s.divisor + s.offset)
	default:
		return driver.Float64Value(f*s.scale + s.offset)
	}
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

// hold tells whether the deadband holds a sample back, and otherwise remembers it.
func (s *shape) hold(last *sent, now *driver.Sample) bool {
	if last.valid && last.quality == now.Quality && s.near(last, now) {
		return true
	}
	*last = sent{value: now.Value, quality: now.Quality, code: codeOf(now.Fault), valid: true}
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
func bounded(p *Point, v driver.Value) error {
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
