package commands

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A driver that does not answer holds up nobody else's points, and its own no longer than one
// device may take, however many there are.
func TestReadIsBoundedByDriver(t *testing.T) {
	const devices = 200
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
		defer cancel()
		hangs, well := &config.Link{Name: "hangs", Driver: "hangs", Timeout: 2 * time.Second}, &config.Link{Name: "well", Driver: "well"}
		var parts []*Part
		for i := range devices { // the one that hangs is asked first
			parts = append(parts, &Part{Link: hangs, Device: fmt.Sprint(i), Points: []string{"x"}, Places: []int{i}})
		}
		for i := range devices {
			parts = append(parts, &Part{Link: well, Device: fmt.Sprint(i), Points: []string{"x"}, Places: []int{devices + i}})
		}
		samples := make([]client.Sample, 2*devices)
		begun := time.Now()
		var mu sync.Mutex
		var wellIn time.Duration
		readParts(ctx, parts, samples, func(ctx context.Context, p *Part) ([]control.NamedSample, error) {
			if p.Link == hangs {
				<-ctx.Done()
				return nil, driver.AsError(ctx.Err())
			}
			mu.Lock()
			defer mu.Unlock()
			wellIn = max(wellIn, time.Since(begun))
			return []control.NamedSample{{Sample: driver.GoodSample(driver.Int64Value(1))}}, nil
		}, func(context.Context, *Part, []client.Sample) bool { return false })
		if took := time.Since(begun); took != readTimeouts*hangs.Timeout || wellIn != 0 {
			t.Errorf("it took %v, and %v for the driver that answers", took, wellIn)
		}
		for i, s := range samples {
			if good := s.Quality == driver.Good; good != (i >= devices) || !good && (s.Fault == nil || s.Time.IsZero()) {
				t.Errorf("sample %d: %+v", i, s)
			}
		}
	})
}
