package config_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
)

// oneTemplate is devices that share their points; ownAddresses ones that do not;
// byHand ones that are written out, point by point.
func oneTemplate(devices int) string {
	return fmt.Sprintf(`
links:
  line:
    driver: bare
    devices:
      m[1..%d]: {unit: "{n}", points: {"reg[0..99]": {address: "holding:{n}", scale: 0.1, unit: V}}}
`, devices)
}

func ownAddresses(devices int) string {
	return strings.Replace(oneTemplate(devices), "holding:{n}", "holding:{d*100+n}", 1)
}

func byHand(devices int) string {
	var b strings.Builder
	b.WriteString("links:\n  line:\n    driver: bare\n    devices:\n")
	for d := range devices {
		fmt.Fprintf(&b, "      m%d:\n        unit: %d\n        points:\n", d, d)
		for p := range 100 {
			fmt.Fprintf(&b, "          reg%d: {address: \"holding:%d\", scale: 0.1, unit: V}\n", p, p)
		}
	}
	return b.String()
}

// BenchmarkParse reports, next to the time, what stays in memory for a point.
func BenchmarkParse(b *testing.B) {
	for _, bc := range []struct {
		name    string
		text    func(int) string
		devices int
	}{
		{"one template/1000x100", oneTemplate, 1000},
		{"one template/5000x100", oneTemplate, 5000},
		{"own addresses/1000x100", ownAddresses, 1000},
		{"own addresses/5000x100", ownAddresses, 5000},
		{"by hand/300x100", byHand, 300},
	} {
		b.Run(bc.name, func(b *testing.B) {
			text := []byte(bc.text(bc.devices))
			var c *config.Config
			for b.Loop() {
				var err error
				if c, err = config.Parse(map[string][]byte{"fieldloom.yaml": text}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(kept(&c))/float64(bc.devices*100), "keptB/point")
		})
	}
}

// kept returns how much memory *c holds, and lets go of it.
func kept(c **config.Config) uint64 {
	var with, without runtime.MemStats
	runtime.GC()
	runtime.GC() // what lay in pools goes with the second
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(*c)
	*c = nil
	runtime.GC()
	runtime.ReadMemStats(&without)
	return with.HeapAlloc - without.HeapAlloc
}

// What is kept of a thousand like devices is a few hundred bytes each: their
// points are one table, and no syntax tree stays.
func TestMemoryOfLikeDevices(t *testing.T) {
	text := []byte(oneTemplate(1000))
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": text})
	if err != nil {
		t.Fatal(err)
	}
	if got := kept(&c); got > 1000*600 {
		t.Errorf("%d bytes are kept of 1000 devices with 100 points each", got)
	}
}

func BenchmarkCheck(b *testing.B) {
	text := strings.ReplaceAll(ownAddresses(1000), "driver: bare", "driver: modbus\n    url: \"tcp://h:1\"")
	text = strings.Replace(text, `unit: "{n}", `, "", 1)
	c := mustParse(b, text)
	for b.Loop() {
		if err := c.Check(drivers()); err != nil {
			b.Fatal(err)
		}
	}
}
