package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/audit"
)

const (
	// breath is the least time between two candidates, in which polls and others get the link.
	breath = 5 * time.Millisecond
	// A step that the link cannot make, because it is being opened again, say, is asked for again
	// every stepAgain; after stepPatience the discovery ends. A step changes nothing in a device.
	stepAgain    = time.Second
	stepPatience = 30 * time.Second
	// maxWithin bounds the words that say where to look.
	maxWithin = 1000
)

// discoveries are the links on which somebody looks for devices: one at a time each.
type discoveries struct {
	mu   sync.Mutex
	busy map[string]bool
}

// begin reports whether a discovery of a link may begin; end is called when it has ended.
func (d *discoveries) begin(link string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[link] {
		return false
	}
	if d.busy == nil {
		d.busy = make(map[string]bool)
	}
	d.busy[link] = true
	return true
}

func (d *discoveries) end(link string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, link)
}

// Discover asks the candidates of a link one after the other, and tells of each when it is
// done. It ends when ctx does, after the candidate in hand; polls go on between two of them. It
// is kept in the audit log: it asks what nobody has configured.
func (s *Service) Discover(ctx context.Context, o client.DiscoverOptions, each func(client.Discovery) error) error {
	l, _ := deviceOf(s.InForce.Get().Config, o.Link, "")
	switch {
	case l == nil:
		return driver.Errorf(driver.NotFound, "there is no link %s", o.Link)
	case len(o.Within) > maxWithin:
		return driver.Errorf(driver.BadValue, "within has %d bytes: give %d at most", len(o.Within), maxWithin)
	case o.Timeout < 0 || o.Timeout > l.Timeout:
		return driver.Errorf(driver.BadValue, "a timeout of %v is not within 0s and the %v of link %s", o.Timeout, l.Timeout, o.Link)
	case !s.searches.begin(o.Link):
		return driver.Errorf(driver.Busy, "a discovery of link %s is running already: wait for its end", o.Link)
	}
	defer s.searches.end(o.Link)
	run := &discovery{s: s, link: l, o: o, each: each}
	// The first step is made before anything is kept or told: it shows whether there can be others.
	if err := run.step(ctx, 0); err != nil && !run.begun {
		return err
	} else if err != nil {
		return run.ended(err)
	}
	for n := 1; n < run.total; n++ {
		select {
		case <-ctx.Done():
			return run.ended(ctx.Err())
		case <-time.After(breath):
		}
		if err := run.step(ctx, n); err != nil {
			return run.ended(err)
		}
	}
	return run.ended(nil)
}

// A discovery is one that is being made.
type discovery struct {
	s     *Service
	link  *config.Link
	o     client.DiscoverOptions
	each  func(client.Discovery) error
	asked *audit.Entry
	begun bool // a candidate was asked

	done, total, found int
}

// step asks one candidate and, where somebody answers, who it is.
func (d *discovery) step(ctx context.Context, n int) error {
	c := driver.Candidate{Within: d.o.Within, Number: n, Patience: d.o.Timeout}
	entry, total, err := d.ask(ctx, c)
	if err != nil {
		return d.fault(n, err)
	}
	if !d.begun {
		d.begin(ctx)
	}
	d.total = total
	if total == 0 {
		return nil
	}
	d.done = n + 1
	line := client.Discovery{Done: d.done, Of: total}
	if entry != nil {
		d.found++
		c.Identify = true
		// Who it is is not worth a failure: it was found.
		if who, _, err := d.ask(ctx, c); err == nil && who != nil {
			complete(entry, who)
		}
		e := foundOf(entry)
		line.Found = &e
	}
	return d.each(line)
}

// complete puts into an entry what it says of itself.
func complete(entry, who *driver.Entry) {
	if who.Name != "" {
		entry.Name = who.Name
	}
	if who.Value != "" {
		entry.Value = who.Value
	}
}

func (d *discovery) fault(n int, err error) error {
	return driver.Errorf(driver.CodeOf(err), "discover %s: candidate %d: %w", d.link.Name, n+1, err)
}

// ask has the process that has the link make a step. It waits for a link that has gone away
// since the first.
func (d *discovery) ask(ctx context.Context, c driver.Candidate) (*driver.Entry, int, error) {
	until := time.Now().Add(stepPatience)
	for {
		entry, total, err := d.askOnce(ctx, c)
		switch code := driver.CodeOf(err); {
		case err == nil, !d.begun, code != driver.NotConnected && code != driver.Busy, time.Now().After(until):
			return entry, total, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(stepAgain):
		}
	}
}

func (d *discovery) askOnce(ctx context.Context, c driver.Candidate) (*driver.Entry, int, error) {
	control, err := d.s.ControlOf(d.link.Driver, d.link.Name)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	return control.Discover(ctx, d.link.Name, c)
}

// begin keeps in the audit log who asked for it.
func (d *discovery) begin(ctx context.Context) {
	d.begun = true
	within, _ := json.Marshal(d.o.Within) // a text always marshals
	d.asked = &audit.Entry{Action: audit.Discovery, Point: d.link.Name, New: within, Result: audit.Asked}
	setCaller(ctx, d.asked)
	d.s.keepWrite(d.asked, true)
}

// ended keeps how it ended.
func (d *discovery) ended(err error) error {
	done := *d.asked
	done.Of, done.Time = d.asked.N, time.Time{}
	done.Result = fmt.Sprintf("found %d of %d", d.found, d.done)
	if err != nil {
		done.Result += ": " + err.Error()
	}
	d.s.keepWrite(&done, false)
	d.s.Log.Info("discovery", "link", d.link.Name, "within", d.o.Within, "user", done.User, "pid", done.PID, "program", done.Program,
		"result", done.Result, "audit", done.N)
	return err
}
