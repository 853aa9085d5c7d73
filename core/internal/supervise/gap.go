package supervise

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// loss is what is lost with a process, until the next holder of its links delivers
// something.
type loss struct {
	from  time.Time
	cause string
	links []string // that it held; nil: all
}

// loss is what is lost with a life that ends, and what it was to tell of before.
func (l *life) loss(cause error) *loss {
	lost := &loss{from: l.lastFilled(), cause: cause.Error()}
	for name, ln := range l.m.pool.links {
		if ln.holder == l {
			lost.links = append(lost.links, name)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, untold := range l.losses {
		if untold.from.Before(lost.from) {
			lost.from = untold.from
		}
	}
	l.losses = nil
	return lost
}

// giveLosses gives the process that opens links what was lost of them, to be told
// with its first frame, and returns since when; zero: nothing was.
func (p *pool) giveLosses(l *life, names []string) (since time.Time) {
	var given []*loss
	p.losses = slices.DeleteFunc(p.losses, func(lost *loss) bool {
		if lost.links == nil || slices.ContainsFunc(lost.links, func(name string) bool { return slices.Contains(names, name) }) {
			given = append(given, lost)
			if since.IsZero() || lost.from.Before(since) {
				since = lost.from
			}
			return true
		}
		return false
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses = append(l.losses, given...)
	return since
}

// settleLosses tells of what was lost with links that are not configured any more.
func (p *pool) settleLosses() {
	now := time.Now()
	p.losses = slices.DeleteFunc(p.losses, func(lost *loss) bool {
		if lost.links == nil || slices.ContainsFunc(lost.links, func(name string) bool { return p.links[name] != nil }) {
			return false
		}
		p.work.Go(func() { p.writeLoss(lost, now) })
		return true
	})
}

func (p *pool) writeLoss(l *loss, now time.Time) {
	if p.s.o.Spool == nil {
		return
	}
	p.s.gaps.write(l.lostWith(p.kind, now))
	p.gaps.Add(1)
}

// tally counts what a driver brought since the gateway started.
type tally struct {
	frames, bytes, gaps atomic.Uint64
}

// gapLog writes the gateway's own gap records: frames of the driver "", numbered
// over all drivers.
type gapLog struct {
	spool  Spool
	epoch  uint64
	stored func(spool.Record)

	mu       sync.Mutex // held over Append, so that records are in the order of their numbers
	sequence uint64
}

// write appends g. It blocks as long as the spool's queue is full.
func (l *gapLog) write(g *engine.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	r := spool.Record{Epoch: l.epoch, Sequence: l.sequence, Stored: time.Now(), Data: plugin.AppendFrame(nil, l.sequence, nil, g)}
	l.spool.Append(r, func(err error) {
		if err == nil && l.stored != nil {
			l.stored(r)
		}
	})
	l.spool.Commit()
}

// lostWith is the gap between a dead process's last frame and now. How many
// samples were in it nobody knows: the number is zero.
func (l *loss) lostWith(kind string, now time.Time) *engine.Gap {
	return &engine.Gap{From: l.from, To: now,
		Cause: driver.Errorf(driver.Lost, "driver %s: an unknown number of samples: %s", kind, l.cause)}
}

// hole is the gap that frames with the sequences first to last leave, which never came.
func hole(kind string, first, last uint64, from, to time.Time) *engine.Gap {
	return &engine.Gap{FirstSeq: first, LastSeq: last, From: from, To: to,
		Cause: driver.Errorf(driver.Lost, "driver %s: frames %d to %d never came", kind, first, last)}
}
