package driver

import (
	"fmt"
	"time"
)

// Quality says how far a sample can be trusted. The zero value is Bad.
type Quality uint8

// The qualities, in rising order of trust.
const (
	Bad       Quality = iota // no usable value; the sample's Fault says why
	Uncertain                // a value, but not a sure one
	Good
)

var qualityNames = [...]string{"bad", "uncertain", "good"}

func (q Quality) String() string {
	if int(q) < len(qualityNames) {
		return qualityNames[q]
	}
	return fmt.Sprintf("quality(%d)", uint8(q))
}

// ParseQuality is the reverse of String.
func ParseQuality(s string) (Quality, error) {
	for i, name := range qualityNames {
		if s == name {
			return Quality(i), nil
		}
	}
	return Bad, fmt.Errorf("unknown quality %q: use good, uncertain or bad", s)
}

// A Sample is what is known of a point at one time. The zero Sample is Bad.
type Sample struct {
	Value   Value
	Quality Quality
	Time    time.Time // at the source; zero: the engine sets the time of the answer
	Fault   *Error    // nil when Good
}

// A PointSample is a Sample that says which point it belongs to.
type PointSample struct {
	Point int // Point.Index
	Sample
}

// Faulted returns a Bad sample with the given fault.
func Faulted(fault *Error) Sample { return Sample{Fault: fault} }

// GoodSample returns a Good sample without a time.
func GoodSample(v Value) Sample { return Sample{Value: v, Quality: Good} }
