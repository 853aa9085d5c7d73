package mqtt

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// epoch reads a count of units since 1970, whole or with a fraction, from a JSON
// number or from text.
func epoch(field any, unit time.Duration) (time.Time, bool) {
	var s string
	switch v := field.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	default:
		return time.Time{}, false
	}
	if v, ok := parseInteger(s); ok && v.Kind() == driver.KindInt64 {
		n := v.Int64()
		if most := math.MaxInt64 / int64(unit); n > most || n < -most {
			return time.Time{}, false
		}
		return time.Unix(0, n*int64(unit)), true
	}
	f, ok := parseNumber(s)
	if f *= float64(unit); !ok || math.Abs(f) >= math.MaxInt64 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(f)), true
}

// fitsNanos reports whether t can be written as nanoseconds since 1970 in an int64, as samples
// are stored.
func fitsNanos(t time.Time) bool {
	return t.After(time.Unix(0, math.MinInt64)) && t.Before(time.Unix(0, math.MaxInt64))
}
