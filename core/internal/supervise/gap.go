package supervise

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// loss is what is lost with a process, until its successor's first frame ends it.
type loss struct {
	from  time.Time
	cause string
}

// tally counts what a driver brought since the gateway started.
type tally struct {
	frames, bytes, losses atomic.Uint64
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
