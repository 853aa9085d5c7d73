package modbus

import (
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/planner"
)

const (
	// firstHold is how long a block that failed twice in a row, while others were answered, is
	// left out of the polls. It is doubled with every failure up to maxHold.
	firstHold = time.Second
	maxHold   = time.Minute
)

// A trouble is a block whose last request had no value. It is asked behind the others, one such
// block a poll, and not before its time. Its points have its fault meanwhile.
type trouble struct {
	failures int // in a row
	until    time.Time
	fault    *driver.Error
}

// suspect notes that a request had no value.
func (r *reader) suspect(q *request, fault *driver.Error) {
	if r.trouble == nil {
		r.trouble = make(map[planner.Span]*trouble)
	}
	t := r.trouble[q.plan.Span]
	if t == nil {
		t = new(trouble)
		r.trouble[q.plan.Span] = t
	}
	t.failures++
	t.fault = fault
	hold := time.Duration(0)
	if t.failures > 1 {
		hold = min(firstHold<<min(t.failures-2, 10), maxHold)
	}
	t.until = time.Now().Add(max(hold, fault.After))
}

// arrange puts the blocks that are well first in the queue, behind them one of those in trouble
// whose time has come, and makes the points of the others Bad. Where no block is well, nothing
// is held back: it is the device that does not answer, and that is the engine's to judge.
func (r *reader) arrange(p *poll) {
	spans := make(map[planner.Span]bool, len(r.queue))
	for _, q := range r.queue {
		spans[q.plan.Span] = true
	}
	for span := range r.trouble {
		if !spans[span] {
			delete(r.trouble, span) // the plan has changed
		}
	}
	if len(r.trouble) == len(r.queue) || !r.alive {
		slices.SortStableFunc(r.queue, func(a, b *request) int { return r.failuresOf(a) - r.failuresOf(b) })
		return
	}
	var well []*request
	var due *request
	for _, q := range r.queue {
		t := r.trouble[q.plan.Span]
		switch {
		case t == nil:
			well = append(well, q)
		case p.now.Before(t.until) || due != nil && !r.trouble[due.plan.Span].until.After(t.until):
			p.fault(q, t.fault)
		default:
			if due != nil {
				p.fault(due, r.trouble[due.plan.Span].fault)
			}
			due = q
		}
	}
	if due != nil {
		well = append(well, due)
	}
	r.queue = well
}

func (r *reader) failuresOf(q *request) int {
	if t := r.trouble[q.plan.Span]; t != nil {
		return t.failures
	}
	return 0
}
