package config_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/config"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "5s": 5 * time.Second, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "7d": 168 * time.Hour,
		"2w": 336 * time.Hour, "100ms": 100 * time.Millisecond, "10us": 10 * time.Microsecond, "10µs": 10 * time.Microsecond,
		"3ns": 3, ".5s": 500 * time.Millisecond, "1d12h": 36 * time.Hour,
	} {
		if got, err := config.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "s", "-1s", "+1s", "1 s", "1x", "1s ", "1e9s", "..s", "1.2.3s", "9999999999d", "1S", "NaNs", "Infs",
		"0.0000001ms", "0.4ns", "0.0000000001s", "0." + strings.Repeat("0", 400) + "1d"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q = %v, want an error", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0B": 0, "1B": 1, "2GiB": 2 << 30, "500MB": 5e8, "1.5 KiB": 1536, "1TiB": 1 << 40, "1TB": 1e12, "3kB": 3000, "3KB": 3000,
	} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "GiB", "-1GiB", "1gib", "1GiB1B", "1  GiB", "99999999TiB", "NaNB", "1e3B", "1GiB ", "0.1B", "0.0000000001GiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q = %v, want an error", text, got)
		}
	}
}

func TestFormattedValuesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(1000*24*time.Hour/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
		if got, err := config.ParseDuration(config.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v became %q, %v, %v", d, config.FormatDuration(d), got, err)
		}
		n := rapid.Int64Range(0, 1<<50).Draw(t, "bytes")
		if got, err := config.ParseSize(config.FormatSize(n)); err != nil || got != n {
			t.Fatalf("%d became %q, %d, %v", n, config.FormatSize(n), got, err)
		}
	})
}
