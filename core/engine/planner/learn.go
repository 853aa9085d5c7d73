package planner

import (
	"cmp"
	"slices"
	"time"
)

// Answered tells that r was answered.
func (p *Planner) Answered(r *Request) {
	switch {
	case r.probe:
		p.restore(r.first)
	case r.half == nil:
		p.open--
	default:
		r.half.open--
		if r.half.open == 0 {
			// The device refused the whole and answered both halves: it is the
			// join that it refuses.
			p.mark(&p.hard, r.half.at)
		}
	}
}

// Refused tells that the device refused r because of its addresses, and why. It
// returns the requests that are to be asked in its place in this poll. Where it
// returns none the points of r have no value in this poll: either they are
// isolated, and will be among the Refusals, or the budget is spent.
func (p *Planner) Refused(r *Request, now time.Time, cause error) []Request {
	if r.probe {
		p.bad[r.first] = &illegal{cause, now.Add(p.options.Retry)}
		return nil
	}
	p.refused = true
	units := p.wanted(r)
	switch {
	case len(units) == 1:
		if p.bad == nil {
			p.bad = make(map[int]*illegal)
		}
		p.bad[units[0]] = &illegal{cause, now.Add(p.options.Retry)}
		p.change()
		return nil
	case p.options.Budget > 0 && p.budget <= 0:
		p.mark(&p.soft, r.first)
		p.mark(&p.soft, r.end)
		return nil
	}
	middle := units[len(units)/2]
	parts := append(p.plan(r.first, middle), p.plan(middle, r.end)...)
	half := &cut{at: middle, open: len(parts)}
	for i := range parts {
		parts[i].half = half
	}
	p.budget -= len(parts)
	return parts
}

// wanted lists the units of r that it was made for.
func (p *Planner) wanted(r *Request) []int {
	var units []int
	for i := r.first; i < r.end; i++ {
		if p.bad[i] == nil {
			units = append(units, i)
		}
	}
	return units
}

func (p *Planner) mark(set *map[int]bool, at int) {
	if *set == nil {
		*set = make(map[int]bool)
	}
	(*set)[at] = true
	p.change()
}

// restore takes unit i, which was probed and answered, back into the plan. The
// others of its table are probed as soon as may be: what refused them all, a
// device that was starting, say, may be over.
func (p *Planner) restore(i int) {
	delete(p.bad, i)
	for j, b := range p.bad {
		if p.units[j].Table == p.units[i].Table {
			b.retry = time.Time{}
		}
	}
	p.change()
}

// due returns probes for the refused units that have waited longest, if their
// time has come.
func (p *Planner) due(now time.Time) []Request {
	p.probes = p.probes[:0]
	if len(p.bad) == 0 || p.options.Retry == 0 {
		return nil
	}
	var waiting []int
	for i, b := range p.bad {
		if !b.retry.After(now) {
			waiting = append(waiting, i)
		}
	}
	slices.SortFunc(waiting, func(a, b int) int {
		return cmp.Or(p.bad[a].retry.Compare(p.bad[b].retry), cmp.Compare(a, b))
	})
	for _, i := range waiting[:min(len(waiting), probesPerPoll)] {
		p.probes = append(p.probes, Request{Span: p.units[i].Span, Points: p.pointsOf(i), first: i, end: i + 1, probe: true})
	}
	return p.probes
}
