package commands

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// leastReadLimit is how long one device may at least take to be read, and
	// readTimeouts how many of its link's timeouts.
	leastReadLimit = 5 * time.Second
	readTimeouts   = 4
)

// A Part is what one request reads of one device.
type Part struct {
	Link   *config.Link
	Device string
	Points []string
	Places []int // in the answer
}

// limit is how long the device may take.
func (p *Part) limit() time.Duration { return max(leastReadLimit, readTimeouts*p.Link.Timeout) }

// readPart reads one device.
type readPart func(ctx context.Context, p *Part) ([]control.NamedSample, error)

// LastValues fills a part's places in samples with the last values of a device that cannot be read,
// and reports whether it did.
type LastValues func(ctx context.Context, p *Part, samples []client.Sample) bool

// readParts fills the places of all parts in samples. Each driver is read beside the others:
// one that does not answer costs its own points only, and no more time than one of its
// devices may take.
func readParts(ctx context.Context, parts []*Part, samples []client.Sample, read readPart, last LastValues) {
	byDriver := make(map[string][]*Part)
	for _, p := range parts {
		byDriver[p.Link.Driver] = append(byDriver[p.Link.Driver], p)
	}
	var wg sync.WaitGroup
	for _, own := range byDriver {
		wg.Go(func() { readDriver(ctx, own, samples, read, last) })
	}
	wg.Wait()
}

// readDriver reads one driver's devices, some at a time. Once one is over its limit, for
// which the driver itself should have ended the read, those that wait are not read any more.
func readDriver(ctx context.Context, parts []*Part, samples []client.Sample, read readPart, last LastValues) {
	slots := semaphore.NewWeighted(readsAtATime)
	var late atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range parts {
		if err := slots.Acquire(ctx, 1); err != nil {
			p.fail(samples, driver.Errorf(driver.Busy, "%w: other devices took too long: %w", driver.ErrNotSent, err))
			continue
		}
		if late.Load() {
			slots.Release(1)
			p.fail(samples, driver.Errorf(driver.Busy, "%w: driver %s does not answer for other devices in time", driver.ErrNotSent, p.Link.Driver))
			continue
		}
		wg.Go(func() {
			defer slots.Release(1)
			limited, cancel := context.WithTimeout(ctx, p.limit())
			defer cancel()
			answer, err := read(limited, p)
			if err != nil && limited.Err() != nil && ctx.Err() == nil {
				late.Store(true)
			}
			if driver.CodeOf(err) == driver.Unsupported && last(ctx, p, samples) {
				return
			}
			p.fill(samples, answer, err)
		})
	}
}

func (p *Part) fill(samples []client.Sample, read []control.NamedSample, err error) {
	if err != nil {
		p.fail(samples, err)
		return
	}
	for i, place := range p.Places {
		s := &samples[place]
		s.Value, s.Quality, s.Time, s.Fault = read[i].Value, read[i].Quality, read[i].Time, client.FaultOf(read[i].Fault)
		if s.Time.IsZero() {
			s.Time = time.Now()
		}
	}
}
