package supervise

import (
	"slices"
	"time"
)

// lossBook is what was lost with processes that died, until the process that opens the links
// is given it to tell of. The pool's mu guards the list.
type lossBook struct {
	in    *inlet // constant, as is links
	links *linkTable

	list []*loss
}

// bury notes what is lost with a life that ends, and what it was to tell of before.
func (b *lossBook) bury(l *life, cause error) {
	lost := &loss{from: l.intake.frames.lastFilled(), cause: cause.Error(), state: l.m.pool.demand.desired.State, links: b.links.heldBy(l)}
	l.intake.unreported.moveTo(lost)
	b.list = append(b.list, lost)
}

// absent notes that nobody took samples since the gateway ran last.
func (b *lossBook) absent(lastRun time.Time, cause string) {
	if b.in.spool == nil || lastRun.IsZero() {
		return
	}
	if epoch, _ := b.in.spool.Mark(b.in.driver); epoch != 0 {
		b.list = append(b.list, &loss{from: lastRun, cause: cause})
	}
}

// give gives the process that opens links what was lost of them, to be told
// with its next frame, and returns since when; zero: nothing was. What was lost of more
// links is given with the last of them that the process opens.
func (b *lossBook) give(l *life, names []string) (since time.Time) {
	var given []*loss
	opens := make(map[string]bool, len(names))
	for _, name := range names {
		opens[name] = true
	}
	b.list = slices.DeleteFunc(b.list, func(lost *loss) bool {
		if lost.links != nil && !slices.ContainsFunc(lost.links, func(name string) bool { return opens[name] }) {
			return false
		}
		if since.IsZero() || lost.from.Before(since) {
			since = lost.from
		}
		if b.links.opensMore(l, lost.links) {
			return false
		}
		given = append(given, lost)
		return true
	})
	l.intake.unreported.add(given)
	return since
}

// takeUnconfigured returns what was lost with links that are not configured any more, which
// no process will tell of, and forgets it.
func (b *lossBook) takeUnconfigured() (lost []*loss) {
	b.list = slices.DeleteFunc(b.list, func(l *loss) bool {
		if l.links == nil || slices.ContainsFunc(l.links, func(name string) bool { return b.links.byName[name] != nil }) {
			return false
		}
		lost = append(lost, l)
		return true
	})
	return lost
}

// takeAll returns everything, as nobody is left to report it. Where the driver has sent no
// frame, losses of no known link are left out: the next gateway reports them.
func (b *lossBook) takeAll() (lost []*loss) {
	lost, b.list = b.list, nil
	if b.in.counts.frames.Load() == 0 {
		lost = slices.DeleteFunc(lost, func(l *loss) bool { return l.links == nil })
	}
	return lost
}
