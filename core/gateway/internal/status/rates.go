package status

import (
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

const (
	minWindow = time.Second     // below it a rate says nothing
	maxWindow = 5 * time.Minute // above it a rate is not the present one
)

// rates makes rates of the counters of two Status calls, so that nothing has to be
// measured while nobody looks. The first call gets the mean since the process's
// start.
type rates struct {
	mu           sync.Mutex
	base, latest *counters // base is at least minWindow older than the next call
}

// counters are the numbers of samples at one time.
type counters struct {
	at      time.Time
	devices map[deviceKey]uint64
	drivers map[string]uint64
}

type deviceKey struct{ link, device string }

// fill computes the rates of s.
func (r *rates) fill(s *client.Status, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest != nil && now.Sub(r.latest.at) >= minWindow {
		r.base = r.latest
	}
	if r.base != nil && now.Sub(r.base.at) > maxWindow {
		r.base = nil
	}
	started := make(map[string]time.Time)
	for i := range s.Drivers {
		d := &s.Drivers[i]
		var first time.Time
		first, started[d.Name] = countedSince(d)
		d.Rate = r.base.rate(now, first, d.Samples, func(c *counters) (uint64, bool) { n, ok := c.drivers[d.Name]; return n, ok })
	}
	for i := range s.Links {
		l := &s.Links[i]
		for j := range l.Devices {
			d := &l.Devices[j]
			base, at := r.base, now
			if l.Unanswered > 0 { // of counters from before only the mean until then is known
				base, at = nil, now.Add(-time.Duration(l.Unanswered*float64(time.Second)))
			}
			d.Rate = base.rate(at, started[l.Driver], d.Samples, func(c *counters) (uint64, bool) { n, ok := c.devices[deviceKey{l.Name, d.Name}]; return n, ok })
			l.Rate += d.Rate
		}
	}
	s.RateWindow = now.Sub(s.Since).Seconds()
	if r.base != nil {
		s.RateWindow = now.Sub(r.base.at).Seconds()
	}
	if r.latest == nil || now.Sub(r.latest.at) >= minWindow {
		r.latest = count(s, now)
	}
}

// countedSince is when a driver's counters, which are those of all its processes together,
// were zero, and when those of its devices were; zero: that is not known, because an
// earlier gateway started a process of it.
func countedSince(d *client.Driver) (first, primary time.Time) {
	first = d.Started
	for i := range d.Processes {
		p := &d.Processes[i]
		if p.Adopted {
			return time.Time{}, time.Time{}
		}
		if p.PID != 0 && p.Started.Before(first) {
			first = p.Started
		}
	}
	return first, d.Started
}

// rate is a counter's growth a second since c, or since the process's start where c
// is nil or the process has started since. A counter that is lower than it was began
// anew, with another process.
func (c *counters) rate(now, started time.Time, n uint64, before func(*counters) (uint64, bool)) float64 {
	from, grown := started, n
	if c != nil && c.at.After(started) {
		if old, ok := before(c); ok {
			from = c.at
			if old <= n {
				grown = n - old
			}
		}
	}
	if elapsed := now.Sub(from).Seconds(); !from.IsZero() && elapsed > 0 {
		return float64(grown) / elapsed
	}
	return 0
}

func count(s *client.Status, now time.Time) *counters {
	c := &counters{at: now, devices: make(map[deviceKey]uint64), drivers: make(map[string]uint64)}
	for i := range s.Drivers {
		c.drivers[s.Drivers[i].Name] = s.Drivers[i].Samples
	}
	for i := range s.Links {
		if s.Links[i].Unanswered > 0 {
			continue
		}
		for j := range s.Links[i].Devices {
			c.devices[deviceKey{s.Links[i].Name, s.Links[i].Devices[j].Name}] = s.Links[i].Devices[j].Samples
		}
	}
	return c
}
