package frame

import (
	"math"
	"time"
)

// MaxGapSamples is the most samples that one gap counts: a million a second for twelve days.
const MaxGapSamples = 1 << 40

// Join adds a later gap of the same place to g. The later cause stands for both.
func (g *Gap) Join(later *Gap) {
	g.Samples = min(g.Samples+later.Samples, MaxGapSamples)
	g.Widen(later.From.UnixNano(), later.To.UnixNano())
	g.Cause = later.Cause
	g.Links[0].Uncounted = g.Links[0].Uncounted || later.Links[0].Uncounted
}

// Widen extends the span of g to include from and to, in Unix nanoseconds. A from of
// math.MaxInt64 means that no time is known, and changes nothing.
func (g *Gap) Widen(from, to int64) {
	if from == math.MaxInt64 {
		return
	}
	if g.From.IsZero() || from < g.From.UnixNano() {
		g.From = time.Unix(0, from)
	}
	if g.To.IsZero() || to > g.To.UnixNano() {
		g.To = time.Unix(0, to)
	}
}
