package status

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
		{"a counter that began anew: what it has", 20*time.Minute + 10*time.Second, 3, 20 * time.Second, 50, 5, 10},
	} {
		s := look(step.after, step.pid, start.Add(step.started), step.samples)
		if got := s.Drivers[0].Rate; got != step.want || s.RateWindow != step.window || s.Links[0].Devices[0].Rate != step.want || s.Links[0].Rate != step.want {
			t.Errorf("%s: driver %v, device %v, link %v over %v s; want %v over %v s", step.name, got, s.Links[0].Devices[0].Rate, s.Links[0].Rate,
				s.RateWindow, step.want, step.window)
		}
	}
}

// During an upgrade the counters are those of the old process and the new one together.
func TestRatesDuringAnUpgrade(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(r *rates, after time.Duration, samples uint64) float64 {
		s := &client.Status{Drivers: []client.Driver{{Name: "modbus", PID: 2, Started: start.Add(100 * time.Second), Samples: samples,
			Processes: []client.Process{{PID: 1, Started: start}, {PID: 2, Started: start.Add(100 * time.Second)}}}}}
		r.fill(s, start.Add(after))
		return s.Drivers[0].Rate
	}
	if got := look(new(rates), 101*time.Second, 5050); got != 50 {
		t.Errorf("the first look: %v, want 50", got)
	}
	var r rates
	r.fill(&client.Status{Drivers: []client.Driver{{Name: "modbus", PID: 1, Started: start, Samples: 4900}}}, start.Add(98*time.Second))
	if got := look(&r, 101*time.Second, 5050); got != 50 {
		t.Errorf("after a look before it: %v, want 50", got)
	}
}
