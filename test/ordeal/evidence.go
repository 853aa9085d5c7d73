package ordeal

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway"
)

// Evidence is what the spool holds.
type evidence struct {
	slots [][]uint64 // of each device, Good, in the order of storage
	bad   int        // samples that are not Good
	gaps  []gap
}

// A gap is a loss that the spool tells of.
type gap struct {
	from, to time.Time
	cause    string
}

// meets reports whether a span of time has a moment in the gap, which may be the shorter.
func (g *gap) meets(from, to time.Time) bool { return !to.Before(g.from) && !from.After(g.to) }

var gapSpan = regexp.MustCompile(`^(.*) \(from (\S+) to (\S+)\)$`)

// gapOf reads what the gateway tells of a loss.
func gapOf(s *client.Sample) gap {
	g := gap{from: s.Time, to: s.Time, cause: s.Fault.Text}
	m := gapSpan.FindStringSubmatch(s.Fault.Text)
	if m == nil {
		return g
	}
	from, err1 := time.Parse(time.RFC3339Nano, m[2])
	to, err2 := time.Parse(time.RFC3339Nano, m[3])
	if err1 == nil && err2 == nil {
		g = gap{from, to, m[1]}
	}
	return g
}

// evidence reads the spool of a gateway that has ended.
func (f *Field) evidence() *evidence {
	f.t.Helper()
	c, err := config.Load(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	e := &evidence{slots: make([][]uint64, f.o.Devices)}
	number := make(map[string]int, f.o.Devices)
	for i := range f.o.Devices {
		number[linkName(i)] = i
	}
	err = gateway.Replay(context.Background(), c, time.Time{}, slog.New(slog.DiscardHandler), func(s *client.Sample) error {
		switch {
		case s.Point == "":
			e.gaps = append(e.gaps, gapOf(s))
		case s.Quality != driver.Good:
			e.bad++
		case s.Point == "slot":
			i, known := number[s.Link]
			if !known || s.Value.Kind() != driver.KindUint64 {
				f.t.Errorf("the spool holds %s = %v", s.Path(), s.Value)
				return nil
			}
			e.slots[i] = append(e.slots[i], s.Value.Uint64())
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// A poll is one that a device served.
type poll struct {
	slot   uint64
	at     time.Time // when it was asked for
	stored bool
}

// polls puts the witness's account of a device together with the spool's.
func (f *Field) polls(e *evidence, i int) []poll {
	d := f.Sim.Device(deviceName(i))
	unserved := d.Unserved()
	var list []poll
	slot := uint64(0)
	for _, at := range d.PollTimes() {
		for slot++; slices.Contains(unserved, slot); slot++ { // a value that never went out whole
		}
		list = append(list, poll{slot: slot, at: at})
	}
	have := make(map[uint64]bool, len(e.slots[i]))
	for _, n := range e.slots[i] {
		have[n] = true
	}
	for k := range list {
		list[k].stored = have[list[k].slot]
	}
	return list
}
