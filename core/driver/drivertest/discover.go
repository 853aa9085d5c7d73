package drivertest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

var _ driver.Discoverer = (*wire)(nil)

// Candidates sets where Discover looks: at names of devices, of which those that exist and are
// not silent answer. Candidate.Within is such names with commas between them.
func (l *FakeLink) Candidates(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = names
}

// Asked tells which candidates Discover was asked for.
func (l *FakeLink) Asked() []driver.Candidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// Discover looks for a device of the script. Who is not there takes the candidate's patience.
func (w *wire) Discover(ctx context.Context, c driver.Candidate) (*driver.Entry, int, error) {
	w.script.mu.Lock()
	w.script.asked = append(w.script.asked, c)
	places := w.script.places
	w.script.mu.Unlock()
	if c.Within != "" {
		within := strings.Split(c.Within, ",")
		for _, name := range within {
			if !slices.Contains(places, name) {
				return nil, 0, driver.Errorf(driver.BadValue, "fake: there is no %q to look at", name)
			}
		}
		places = within
	}
	if c.Number >= len(places) {
		return nil, len(places), nil
	}
	name := places[c.Number]
	w.script.mu.Lock()
	d := w.script.devices[name]
	w.script.mu.Unlock()
	if err := w.await(ctx, d, c.Patience); err != nil || d == nil || d.isSilent() {
		return nil, len(places), err
	}
	e := &driver.Entry{Address: name}
	if c.Identify {
		e.Name = "fake " + name
	}
	return e, len(places), nil
}

// await waits for a device that does not answer, or does at once.
func (w *wire) await(ctx context.Context, d *FakeDevice, patience time.Duration) error {
	if err := w.connect(); err != nil {
		return err
	}
	if d == nil || d.isSilent() {
		wait := time.NewTimer(patience)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-w.dead:
		}
	}
	if w.isDead() {
		return errCut
	}
	return nil
}

func (d *FakeDevice) isSilent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.silent
}
