package supervise

import (
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// inlet is what the processes of one driver share on their way to the spool: their counts,
// their limits and the log of gaps. It may be used concurrently, and none of it needs the
// lock of the pool.
type inlet struct {
	driver  string // constant, as are those to the next blank line
	spool   Spool  // nil: no state may be set
	log     *driverLog
	handles func(driverName string) wire.Handles // as in Options
	gaps    *gapLog                              // of all drivers
	shares  *shares                              // of all drivers

	counts  counts
	commits commits
}

// counts is what a driver brought since the gateway started.
type counts struct {
	frames, bytes, gaps atomic.Uint64
	refused             atomic.Uint64 // frames and events
	refusal             atomic.Pointer[string]
}

// refuse counts what was refused. Why is nil where the death of the process says it.
func (c *counts) refuse(why error) {
	c.refused.Add(1)
	if why != nil {
		text := why.Error()
		c.refusal.Store(&text)
	}
}

// tell fills in the counts.
func (c *counts) tell(s *Status) {
	s.Frames, s.Bytes, s.Gaps, s.Refused = c.frames.Load(), c.bytes.Load(), c.gaps.Load(), c.refused.Load()
	if why := c.refusal.Load(); why != nil {
		s.Refusal = *why
	}
}

// bounds is what a sample that comes now may be.
func (in *inlet) bounds(now time.Time) wire.Bounds {
	b := wire.Bounds{Earliest: now.Add(-oldest).UnixNano(), Latest: now.Add(clockStep).UnixNano()}
	if in.handles != nil {
		b.Handles = in.handles(in.driver)
	}
	return b
}

// writeHole leaves the commit of the record to the frame that follows it.
func (in *inlet) writeHole(g *frame.Gap) {
	in.gaps.append(g)
	in.counts.gaps.Add(1)
}

// writeLoss writes the record of what was lost, by what was configured. pushes is what is
// known besides of devices that send by themselves.
func (in *inlet) writeLoss(l *loss, configured *control.State, now time.Time, pushes map[place]struct{}) {
	in.gaps.write(l.lostWith(in.driver, now, l.due(configured, now, joined(l.pushes, pushes))))
	in.counts.gaps.Add(1)
}

// commit has the spool commit what one message brought. What nobody waits for may gather
// still.
func (in *inlet) commit(patient bool) {
	switch {
	case !in.commits.pass():
		in.spool.Later()
	case patient:
		in.spool.Gather()
	default:
		in.spool.Commit()
	}
}
