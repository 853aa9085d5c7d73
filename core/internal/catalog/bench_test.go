package catalog_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

const big = `
links:
  line:
    driver: modbus
    devices:
      m[1..%d]:
        unit: "{n}"
        points:
          reg[0..99]: {address: "holding:{n}"}
`

func BenchmarkFirstAssignment(b *testing.B) {
	for _, devices := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("%dx100", devices), func(b *testing.B) {
			cfg := parse(b, fmt.Sprintf(big, devices))
			for b.Loop() {
				c := open(b, openDB(b, filepath.Join(b.TempDir(), "state.db")))
				if _, err := c.States(cfg, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	c := open(b, openDB(b, filepath.Join(b.TempDir(), "state.db")))
	if _, err := c.States(parse(b, fmt.Sprintf(big, 1000)), 1); err != nil {
		b.Fatal(err)
	}
	var got catalog.Path
	handle := uint32(0)
	for b.Loop() {
		handle = (handle + 7919) % 100_000
		got, _ = c.Lookup(handle + 1)
	}
	if got.Link != "line" {
		b.Fatal(got)
	}
}

func BenchmarkMatch(b *testing.B) {
	c := open(b, openDB(b, filepath.Join(b.TempDir(), "state.db")))
	if _, err := c.States(parse(b, fmt.Sprintf(big, 1000)), 1); err != nil {
		b.Fatal(err)
	}
	match := c.Match([]string{"line/m[1-5]*/reg[1-5]*"})
	handle := uint32(0)
	for b.Loop() {
		handle = handle%100_000 + 1
		match(handle)
	}
}
