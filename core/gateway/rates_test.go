package gateway

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

func TestRates(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var r rates
	look := func(after time.Duration, pid int, started time.Time, samples uint64) *client.Status {
		s := &client.Status{Health: client.Health{Since: start},
			Drivers: []client.Driver{{Name: "modbus", PID: pid, Started: started, Samples: samples}},
			Links:   []client.Link{{Name: "l", Driver: "modbus", Devices: []client.Device{{Name: "d", Samples: samples}}}}}
		r.fill(s, start.Add(after))
		return s
	}
	for _, step := range []struct {
		name    string
		after   time.Duration
		pid     int
		started time.Duration
		samples uint64
		want    float64
		window  float64
	}{
		{"the first call: the mean since the start", 10 * time.Second, 1, 0, 1000, 100, 10},
		{"the second: since the first", 12 * time.Second, 1, 0, 1100, 50, 2},
		{"at once again: still since the first", 12*time.Second + time.Millisecond*500, 1, 0, 1125, 50, 2.5},
		{"later: since the one before", 14 * time.Second, 1, 0, 1300, 100, 2},
		{"a new process: since its start", 24 * time.Second, 2, 20 * time.Second, 80, 20, 10},
		{"after a long pause: the mean again", 20 * time.Minute, 2, 20 * time.Second, 1180, 1, 1200},
	} {
		s := look(step.after, step.pid, start.Add(step.started), step.samples)
		if got := s.Drivers[0].Rate; got != step.want || s.RateWindow != step.window || s.Links[0].Devices[0].Rate != step.want || s.Links[0].Rate != step.want {
			t.Errorf("%s: driver %v, device %v, link %v over %v s; want %v over %v s", step.name, got, s.Links[0].Devices[0].Rate, s.Links[0].Rate,
				s.RateWindow, step.want, step.window)
		}
	}
}
