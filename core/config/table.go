package config

import (
	"hash/maphash"
	"slices"

	"github.com/fieldloom/fieldloom/core/control"
)

// tables keeps one of all tables that are equal. Its zero value is ready.
type tables struct {
	seed  maphash.Seed
	known map[uint64][]*control.Table
}

// share returns a table equal to t: t itself, or one that was there before.
func (ts *tables) share(t *control.Table) *control.Table {
	if ts.known == nil {
		ts.seed, ts.known = maphash.MakeSeed(), map[uint64][]*control.Table{}
	}
	var h maphash.Hash
	h.SetSeed(ts.seed)
	for i := range t.Points {
		maphash.WriteComparable(&h, t.Points[i].Name)
		maphash.WriteComparable(&h, t.Points[i].Address)
	}
	sum := h.Sum64()
	for _, other := range ts.known[sum] {
		if slices.EqualFunc(other.Points, t.Points, samePoint) {
			return other
		}
	}
	ts.known[sum] = append(ts.known[sum], t)
	return t
}

func samePoint(a, b control.Point) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Unit == b.Unit && a.Class == b.Class &&
		a.Readable == b.Readable && a.Writable == b.Writable &&
		sameNumber(a.Scale, b.Scale) && sameNumber(a.Offset, b.Offset) && sameNumber(a.Deadband, b.Deadband) &&
		sameNumber(a.Min, b.Min) && sameNumber(a.Max, b.Max)
}

func sameNumber(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
