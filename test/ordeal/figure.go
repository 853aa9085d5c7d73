package ordeal

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// figure logs one line of JSON: what was measured, then pairs of a word and a value. A duration
// is printed in milliseconds.
func figure(t testing.TB, name string, pairs ...any) {
	t.Helper()
	var line bytes.Buffer
	line.WriteString(`{"figure":` + encoded(t, name))
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		if d, ok := value.(time.Duration); ok {
			value = milliseconds(d)
		}
		line.WriteString("," + encoded(t, pairs[i]) + ":" + encoded(t, value))
	}
	line.WriteString("}")
	t.Log(line.String())
}

func encoded(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// milliseconds has one digit behind the point.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond).Microseconds()) / 1000
}

// median is the upper one of two.
func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// worst is the largest, and 0 of none.
func worst(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return slices.Max(all)
}
