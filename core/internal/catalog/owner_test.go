package catalog_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

// may lists which drivers may send samples of the whole device now.
func may(c *catalog.Catalog, first uint32, count uint64) string {
	var list []string
	for _, driver := range []string{"modbus", "mqtt", "serial", ""} {
		if until, ok := c.Handles(driver).Until(first, count); ok && until == math.MaxInt64 {
			list = append(list, driver)
		}
	}
	return strings.Join(list, " ")
}

// Handles belong to the driver that has the device or had it last, over restarts.
func TestHandlesHaveAnOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openDB(t, path)
	c := open(t, db)
	first := firsts(states(t, c, plant))
	m1, m4, other := first["line1/m1"], first["line1/m4"], first["line2/m1"]
	check := func(c *catalog.Catalog, want4, wantOther string) {
		t.Helper()
		for _, x := range []struct {
			first uint32
			count uint64
			want  string
		}{
			{m1, 4, "modbus"}, {m1, 12, "modbus"}, {m4, 4, want4}, {other, 5, wantOther},
			{0, 1, ""}, {other + 5, 1, ""}, {m4, 8, ""}, {m4, math.MaxUint32, ""}, {math.MaxUint32, 1, ""},
		} {
			if have := may(c, x.first, x.count); have != x.want {
				t.Errorf("%d handles from %d on: %q, want %q", x.count, x.first, have, x.want)
			}
		}
	}
	check(c, "modbus", "mqtt")
	states(t, c, strings.ReplaceAll(plant, "m[1..4]", "m[1..3]"))
	check(c, "modbus", "mqtt") // what it had last
	before := time.Now()
	states(t, c, strings.ReplaceAll(plant, "driver: mqtt", "driver: serial"))
	check(c, "modbus", "serial")
	until, ok := c.Handles("mqtt").Until(other, 5)
	if at := time.Unix(0, until); !ok || at.Before(before) || at.After(time.Now().Add(time.Minute)) {
		t.Errorf("the driver that had the device may send samples up to %v, %v", at, ok)
	}
	check(open(t, db), "modbus", "serial")
	states(t, c, plant)
	check(c, "modbus", "mqtt")
}
