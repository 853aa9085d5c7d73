package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway"
)

// demoTally counts samples by protocol.
type demoTally struct {
	protocol map[string]string // of a link
	counts   map[string]*protocolSummary
	other    uint64 // samples that say that samples are lost
}

// protocolSummary is what became of one protocol's samples.
type protocolSummary struct {
	Devices   int     `json:"devices"`
	Samples   uint64  `json:"samples"`
	Good      uint64  `json:"good"`
	Uncertain uint64  `json:"uncertain"`
	Bad       uint64  `json:"bad"`
	First     float64 `json:"first_sample_s"` // after the start; 0: none came
	Served    uint64  `json:"served"`         // polls and messages that the devices count
	Stored    uint64  `json:"stored"`         // of those, in the spool
	Missing   uint64  `json:"missing"`
	Repeated  uint64  `json:"repeated"`
}

func newDemoTally(c *config.Config) *demoTally {
	t := &demoTally{protocol: make(map[string]string), counts: make(map[string]*protocolSummary)}
	for _, l := range c.Links {
		t.protocol[l.Name] = l.Driver
		if t.counts[l.Driver] == nil {
			t.counts[l.Driver] = new(protocolSummary)
		}
		t.counts[l.Driver].Devices += len(l.Devices)
	}
	return t
}

func (t *demoTally) take(s *client.Sample) {
	p := t.counts[t.protocol[s.Link]]
	if p == nil {
		t.other++
		return
	}
	p.Samples++
	switch s.Quality {
	case driver.Good:
		p.Good++
	case driver.Uncertain:
		p.Uncertain++
	default:
		p.Bad++
	}
}

// first notes when a protocol's first sample was there.
func (t *demoTally) first(s *client.Sample, since time.Duration) {
	if p := t.counts[t.protocol[s.Link]]; p != nil && p.First == 0 {
		p.First = since.Seconds()
	}
}

// line is the counts on one line.
func (t *demoTally) line(elapsed time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5.1fs", elapsed.Seconds())
	for _, name := range sortedKeys(t.counts) {
		p := t.counts[name]
		fmt.Fprintf(&b, "  %s: %d samples, %d good", name, p.Samples, p.Good)
	}
	return b.String()
}

// demoSummary is the demo's result as JSON.
type demoSummary struct {
	OK        bool                        `json:"ok"`
	Seconds   float64                     `json:"seconds"`
	Warnings  int                         `json:"warnings"` // lines of the gateway's log at warn or above
	Protocols map[string]*protocolSummary `json:"protocols"`
	Config    string                      `json:"config"`
}

// summarise compares what the devices served with what is stored, prints it, and
// fails where they differ.
func (r *demoRun) summarise(ctx context.Context) error {
	if err := r.compare(ctx); err != nil {
		return err
	}
	sum := demoSummary{OK: true, Seconds: time.Since(r.began).Seconds(), Warnings: r.log.count(), Protocols: r.tally.counts, Config: r.word.Data}
	for _, p := range sum.Protocols {
		sum.OK = sum.OK && p.First > 0 && p.Bad+p.Uncertain+p.Missing+p.Repeated == 0
	}
	if err := r.print(&sum); err != nil || sum.OK {
		return err
	}
	return errReported
}

// slots are the slot values of one device that are stored: a slot is the number of
// a poll served or a message sent, so each must be there exactly once.
type slots struct {
	seen            map[int64]bool
	lowest          int64
	repeated        uint64
	protocolOfSlots *protocolSummary
}

// compare reads the spool. A device's messages from before the gateway listened are
// nobody's loss, so the count begins with the first that is stored.
func (r *demoRun) compare(ctx context.Context) error {
	stored := make(map[string]*slots)
	err := gateway.Replay(ctx, r.config, r.began, nil, func(s *client.Sample) error {
		p := r.tally.counts[r.tally.protocol[s.Link]]
		n, ok := s.Value.AsInt64()
		if p == nil || s.Point != "slot" || !ok {
			return nil
		}
		d := stored[s.Device]
		if d == nil {
			d = &slots{seen: make(map[int64]bool), lowest: n, protocolOfSlots: p}
			stored[s.Device] = d
		}
		if d.seen[n] {
			d.repeated++
		}
		d.seen[n] = true
		d.lowest = min(d.lowest, n)
		return nil
	})
	if err != nil {
		return err
	}
	for name, served := range r.served {
		if d := stored[name]; d != nil {
			d.settle(int64(served))
		}
	}
	return nil
}

// settle counts the slots from the lowest stored to the last served.
func (d *slots) settle(last int64) {
	p := d.protocolOfSlots
	p.Repeated += d.repeated
	for n := d.lowest; n <= last; n++ {
		p.Served++
		if d.seen[n] {
			p.Stored++
		} else {
			p.Missing++
		}
	}
}

func (r *demoRun) print(sum *demoSummary) error {
	if r.word.JSON {
		return printJSON(r.screen.out, sum)
	}
	g := new(grid)
	g.add(bold, "PROTOCOL", "DEVICES", "FIRST AFTER", "SAMPLES", "GOOD", "UNCERTAIN", "BAD", "SERVED", "STORED", "MISSING", "REPEATED")
	for _, name := range sortedKeys(sum.Protocols) {
		p := sum.Protocols[name]
		colour := green
		if p.First == 0 || p.Bad+p.Uncertain+p.Missing+p.Repeated > 0 {
			colour = red
		}
		g.add(colour, name, fmt.Sprint(p.Devices), fmt.Sprintf("%.2f s", p.First), fmt.Sprint(p.Samples), fmt.Sprint(p.Good), fmt.Sprint(p.Uncertain),
			fmt.Sprint(p.Bad), fmt.Sprint(p.Served), fmt.Sprint(p.Stored), fmt.Sprint(p.Missing), fmt.Sprint(p.Repeated))
	}
	if _, err := fmt.Fprintf(r.screen.out, "\n%.1f seconds; served is what the devices count, stored is what is on disk\n", sum.Seconds); err != nil {
		return err
	}
	if err := g.print(r.screen); err != nil {
		return err
	}
	if sum.Warnings > 0 {
		_, err := fmt.Fprintf(r.screen.out, "%d warnings in %s\n", sum.Warnings, r.log.path)
		return err
	}
	return nil
}
