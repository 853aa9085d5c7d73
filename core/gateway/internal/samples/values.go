package samples

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/commands"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

const (
	// valuesAtATime is how many points' last values are in memory at a time.
	valuesAtATime = 10_000
	// devicesAtATime is how many devices a question asks their drivers for at the same time.
	devicesAtATime = 16
	// valuesLimit bounds the wait for one answer of a driver: it asks no device.
	valuesLimit = 3 * time.Second
)

// Values implements api.Samples. The driver knows best, for it knows what a deadband holds
// back; what it does not know is looked for in what is stored.
func (s *Service) Values(ctx context.Context, patterns []string, to api.Sink) error {
	a := s.inForce.Get()
	for _, name := range patterns {
		if err := hasValues(a, name); err != nil {
			return err
		}
	}
	to.Begin(client.Position{})
	if err := s.sendValues(ctx, patterns, to); err != nil {
		return err
	}
	return to.Flush()
}

// hasValues says why no point that a pattern matches has values.
func hasValues(a *inforce.Config, name string) error {
	var err error = a.Missing(name)
	for at := range a.Selected([]string{name}) {
		if at.Point.Readable {
			return nil
		}
		err = driver.Errorf(driver.Denied, "%s: a point that can only be written has no value: its access is w", name)
	}
	return err
}

// sendValues sends the last values, in the order of the configuration.
func (s *Service) sendValues(ctx context.Context, patterns []string, to api.Sink) error {
	q := s.newValuesQuery()
	var parts []*lastPart
	points := 0
	send := func() error {
		if err := q.fill(ctx, parts); err != nil {
			return err
		}
		for _, p := range parts {
			for i := range p.samples {
				if err := to.Sample(&p.samples[i]); err != nil {
					return err
				}
			}
		}
		parts, points = nil, 0
		return nil
	}
	for at := range s.inForce.Get().Selected(patterns) {
		if !at.Point.Readable {
			continue
		}
		if n := len(parts); n == 0 || parts[n-1].link != at.Link || parts[n-1].device != at.Device.Name {
			if points >= valuesAtATime {
				if err := send(); err != nil {
					return err
				}
			}
			parts = append(parts, &lastPart{link: at.Link, device: at.Device.Name})
		}
		p := parts[len(parts)-1]
		p.samples = append(p.samples, client.Sample{Link: at.Link.Name, Device: at.Device.Name, Point: at.Point.Name, Unit: at.Point.Unit, Last: &client.Last{}})
		points++
	}
	return send()
}

// A lastPart is points of one device whose last values are asked for.
type lastPart struct {
	link    *config.Link
	device  string
	samples []client.Sample // with their names
	known   []bool          // of each sample: the driver has told it
	fault   *driver.Error   // why the driver could not be asked
}

// A valuesQuery is one question for last values.
type valuesQuery struct {
	controlOf func(driverName, link string) (control.Plane, error)
	catalog   *catalog.Catalog
	stored    *storedValues
	deadline  time.Time // of the search in what is stored

	mu     sync.Mutex
	silent map[control.Plane]error // drivers that do not answer, which are asked once
}

func (s *Service) newValuesQuery() *valuesQuery {
	return &valuesQuery{controlOf: s.controlOf, catalog: s.store.Catalog, stored: &s.stored, deadline: time.Now().Add(searchLimit),
		silent: make(map[control.Plane]error)}
}

// fill fills the samples of parts.
func (q *valuesQuery) fill(ctx context.Context, parts []*lastPart) error {
	slots := semaphore.NewWeighted(devicesAtATime)
	var wg sync.WaitGroup
	for _, p := range parts {
		if err := slots.Acquire(ctx, 1); err != nil {
			break
		}
		wg.Go(func() {
			defer slots.Release(1)
			q.askDriver(ctx, p)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	wanted := make(map[uint32]bool)
	for _, p := range parts {
		for i := range p.samples {
			s := &p.samples[i]
			if handle, ok := q.catalog.Find(s.Link, s.Device, s.Point); ok && !p.complete(i) {
				wanted[handle] = true
			}
		}
	}
	var found map[uint32]storedValue
	complete := true
	if len(wanted) > 0 {
		var err error
		if found, complete, err = q.stored.find(ctx, wanted, q.deadline); err != nil {
			return err
		}
	}
	for _, p := range parts {
		for i := range p.samples {
			if s := &p.samples[i]; !p.complete(i) {
				handle, _ := q.catalog.Find(s.Link, s.Device, s.Point)
				value, ok := found[handle]
				p.supplement(i, value, ok, complete)
			}
		}
	}
	return nil
}

// complete reports whether the driver has told all that is to be known of a point.
func (p *lastPart) complete(i int) bool {
	return p.known[i] && (p.samples[i].Quality != driver.Bad || !p.samples[i].Last.GoodTime.IsZero())
}

// askDriver takes what the driver knows of the points. A driver that cannot tell last values
// is no fault.
func (q *valuesQuery) askDriver(ctx context.Context, p *lastPart) {
	p.known = make([]bool, len(p.samples))
	control, err := q.controlOf(p.link.Driver, p.link.Name)
	if err == nil {
		err = q.ask(ctx, control, p)
	}
	switch driver.CodeOf(err) {
	case driver.OK, driver.Unsupported, driver.NotFound: // NotFound: it has not got the newest configuration yet
	default:
		p.fault = driver.AsError(err)
	}
}

func (q *valuesQuery) ask(ctx context.Context, control control.Plane, p *lastPart) error {
	q.mu.Lock()
	err := q.silent[control]
	q.mu.Unlock()
	if err != nil {
		return err
	}
	places := make(map[string]int, len(p.samples))
	for i := range p.samples {
		places[p.samples[i].Point] = i
	}
	for first := 0; ; {
		limited, cancel := context.WithTimeout(ctx, valuesLimit)
		values, next, err := control.Values(limited, p.link.Name, p.device, first)
		cancel()
		if err != nil {
			if code := driver.CodeOf(err); code == driver.Timeout || code == driver.NotConnected || code == driver.Unsupported {
				q.mu.Lock()
				q.silent[control] = err
				q.mu.Unlock()
			}
			return err
		}
		for i := range values {
			if place, ok := places[values[i].Point]; ok {
				p.tell(place, &values[i])
			}
		}
		if next <= first { // also a driver that goes round in circles
			return nil
		}
		first = next
	}
}

// tell takes what the driver says of a point.
func (p *lastPart) tell(i int, v *control.LastValue) {
	s := &p.samples[i]
	s.Value, s.Quality, s.Time, s.Fault = v.Value, v.Quality, v.Time, client.FaultOf(v.Fault)
	*s.Last = client.Last{Since: v.Since, Good: v.Good, GoodTime: v.GoodTime}
	p.known[i] = true
}

// supplement adds what is stored of a point to what the driver has told.
func (p *lastPart) supplement(i int, v storedValue, ok, complete bool) {
	s := &p.samples[i]
	if ok {
		s.Last.Good, s.Last.GoodTime = v.good, v.goodTime
	}
	switch {
	case p.known[i]:
	case p.fault != nil: // nobody knows what the point says now
		s.Time, s.Fault = time.Now(), client.FaultOf(p.fault)
	case ok:
		s.Value, s.Quality, s.Time, s.Fault = v.sample.Value, v.sample.Quality, v.sample.Time, client.FaultOf(v.sample.Fault)
	case complete:
		s.Fault = &client.Fault{Code: driver.NotFound.String(), Text: "no value of it is known: none has come yet"}
	default:
		s.Fault = &client.Fault{Code: driver.Timeout.String(), Text: "its last value lies too far back to be found at once: ask again, the search goes on"}
	}
	if s.Quality != driver.Bad {
		s.Last.Good, s.Last.GoodTime = driver.Value{}, time.Time{}
	}
}

// ReadLast answers a read of a device that only sends by itself: with what it sent last. It
// reports whether anything is known.
func (s *Service) ReadLast(ctx context.Context, p *commands.Part, samples []client.Sample) bool {
	last := &lastPart{link: p.Link, device: p.Device}
	for _, place := range p.Places {
		sample := samples[place]
		sample.Last = &client.Last{}
		last.samples = append(last.samples, sample)
	}
	q := s.newValuesQuery()
	if err := q.fill(ctx, []*lastPart{last}); err != nil {
		return false
	}
	for i, place := range p.Places {
		samples[place] = last.samples[i]
	}
	return true
}
