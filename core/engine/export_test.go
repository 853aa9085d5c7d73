package engine

import "github.com/fieldloom/fieldloom/core/driver"

// TestRing is a ring that a test fills itself.
type TestRing struct{ *Ring }

// NewTestRing makes a ring without an encoder.
func NewTestRing(maxBytes int) TestRing { return TestRing{newRing(maxBytes, nil)} }

// NewEncodedRing makes a ring with one.
func NewEncodedRing(maxBytes int, encode func([]byte, uint64, *Batch, *Gap) []byte) TestRing {
	return TestRing{newRing(maxBytes, encode)}
}

// Push makes a frame of n samples.
func (r TestRing) Push(n int, droppable bool) {
	var b builder
	for i := range n {
		s := driver.GoodSample(driver.Float64Value(float64(i)))
		b.add(uint32(i+1), &s, 1)
	}
	r.push(&b, droppable)
}
