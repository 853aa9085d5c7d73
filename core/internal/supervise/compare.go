package supervise

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/fieldloom/fieldloom/core/control"
)

// tableComparison keeps which tables, which many devices share, were found to be the same.
type tableComparison map[[2]*control.Table]bool

// same reports whether nothing of a link has changed. Tables are compared once.
func (c *tableComparison) same(a, b *control.Link) bool {
	if a.Timeout != b.Timeout || a.Gap != b.Gap || a.Offline != b.Offline || len(a.Devices) != len(b.Devices) ||
		!bytes.Equal(a.Settings, b.Settings) || !slices.Equal(a.Classes, b.Classes) {
		return false
	}
	for i := range a.Devices {
		x, y := &a.Devices[i], &b.Devices[i]
		if x.Name != y.Name || x.FirstHandle != y.FirstHandle || x.Offline != y.Offline || !bytes.Equal(x.Settings, y.Settings) || !c.sameTable(x.Table, y.Table) {
			return false
		}
	}
	return true
}

func (c *tableComparison) sameTable(a, b *control.Table) bool {
	if a == b {
		return true
	}
	pair := [2]*control.Table{a, b}
	same, known := (*c)[pair]
	if !known {
		same = reflect.DeepEqual(a, b)
		if *c == nil {
			*c = make(tableComparison)
		}
		(*c)[pair] = same
	}
	return same
}
