package supervise

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// loss is what is lost with a process, until the next holder of its links delivers
// something.
type loss struct {
	from  time.Time
	cause string
	links []string // that it held; nil: all

	state  *control.State     // that it was to have; nil: the present one
	pushes map[place]struct{} // devices that sent by themselves
}

// joined is what is in one of two sets. It may be one of them.
func joined(a, b map[place]struct{}) map[place]struct{} {
	if len(a) == 0 || len(b) == 0 {
		if len(a) == 0 {
			return b
		}
		return a
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// maxGapLinks bounds the links that a gap record names: the rest counts as one without
// a name.
const maxGapLinks = 4096

// due is what was due of each link that was lost, by the configuration.
func (l *loss) due(state *control.State, now time.Time, pushes map[place]struct{}) []frame.GapLink {
	if state == nil {
		return nil
	}
	held := make(map[string]bool, len(l.links))
	for _, name := range l.links {
		held[name] = true
	}
	var list []frame.GapLink
	for i := range state.Links {
		link := &state.Links[i]
		if l.links != nil && !held[link.Name] {
			continue
		}
		polls, uncounted := link.PollsDue(l.from, now, func(device string) bool {
			_, does := pushes[place{link.Name, device}]
			return does
		})
		switch {
		case polls == 0 && !uncounted:
		case len(list) < maxGapLinks:
			list = append(list, frame.GapLink{Link: link.Name, Polls: polls, Uncounted: uncounted})
		case len(list) == maxGapLinks:
			list = append(list, frame.GapLink{})
			fallthrough
		default:
			rest := &list[maxGapLinks]
			rest.Polls += polls
			rest.Uncounted = rest.Uncounted || uncounted
		}
	}
	return list
}

// gapLog writes the gateway's own gap records: frames of the driver "", numbered
// over all drivers.
type gapLog struct {
	spool Spool
	epoch uint64

	mu       sync.Mutex // held over Append, so that records are in the order of their numbers
	sequence uint64
}

// write appends g and has it committed.
func (l *gapLog) write(g *frame.Gap) {
	l.append(g)
	l.spool.Commit()
}

// append leaves the commit to what comes next. It blocks as long as the spool's queue is
// full.
func (l *gapLog) append(g *frame.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	r := spool.Record{Epoch: l.epoch, Sequence: l.sequence, Stored: time.Now(), Data: wire.AppendFrame(nil, l.sequence, nil, g)}
	l.spool.Append(r, func(error) {})
}

// lostWith is the gap between a dead process's last frame and now. How many samples were
// in it nobody knows, so the number is zero; but how many polls were due is known.
func (l *loss) lostWith(driverName string, now time.Time, due []frame.GapLink) *frame.Gap {
	what, polls := "an unknown number of samples", uint64(0)
	for i := range due {
		polls += due[i].Polls
		if due[i].Uncounted {
			what = "an unknown number of samples that come unasked"
		}
	}
	switch {
	case polls > 0 && what == "an unknown number of samples":
		what = fmt.Sprintf("the samples of at most %d polls", polls)
	case polls > 0:
		what = fmt.Sprintf("the samples of at most %d polls, and %s", polls, what)
	}
	return &frame.Gap{From: l.from, To: now, Links: due,
		Cause: driver.Errorf(driver.Lost, "driver %s: %s: %s", driverName, what, l.cause)}
}

// hole is the gap that frames with the sequences first to last leave, which never came.
func hole(driverName string, first, last uint64, from, to time.Time) *frame.Gap {
	return &frame.Gap{FirstSeq: first, LastSeq: last, From: from, To: to,
		Cause: driver.Errorf(driver.Lost, "driver %s: frames %d to %d never came", driverName, first, last)}
}
