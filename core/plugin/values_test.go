package plugin_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestLastValuesCrossTheBoundary(t *testing.T) {
	p := launch(t, command("fake"))
	at := time.Unix(7, 8).UTC()
	want := [][]control.LastValue{
		{{Point: "l", Sample: driver.Sample{Value: driver.Float64Value(1.5), Quality: driver.Good, Time: at}, Since: at.Add(-time.Hour)}},
		{{Point: "d", Sample: driver.Sample{Time: at, Fault: driver.Errorf(driver.Timeout, "silent")}, Good: driver.StringValue("on"), GoodTime: at.Add(-time.Minute)}},
	}
	for first, page := range want {
		values, next, err := p.Values(t.Context(), "l", "d", first)
		if err != nil || next != 1-first {
			t.Fatalf("goes on with %d, %v", next, err)
		}
		if diff := cmp.Diff(page, values, cmp.Comparer(driver.Value.Equal)); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", first, diff)
		}
	}
}
