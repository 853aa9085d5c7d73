package engine

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// lastPage is how many points of a device one call of Values goes through.
	lastPage = 1024
	// maxLastText bounds the texts of one answer, and a text in it: a longer one is left
	// out, and stands in what is stored.
	maxLastText = 4 << 10
)

// A lastAnswer is the samples of a set that came last. It is the buffer of the answer
// itself, so keeping it costs no copy.
type lastAnswer struct {
	set    *set
	answer *answer
	at     int64 // Unix nanoseconds, of samples without a time
}

// goodValue is a value that was Good.
type goodValue struct {
	value driver.Value
	at    time.Time
}

// sample returns the i-th sample, as it would have been sent.
func (a *lastAnswer) sample(d *device, i int) driver.Sample {
	s := a.answer.samples[i]
	return d.unsuppressed(s, a.set.index[i], a.at)
}

// unsuppressed gives a sample that shape has seen its time, and its quality where the deadband held
// it back.
func (d *device) unsuppressed(s driver.Sample, point uint32, at int64) driver.Sample {
	if s.Time.IsZero() {
		s.Time = time.Unix(0, at)
	}
	if s.Quality == suppressed {
		switch last := &d.last[point]; {
		case last.valid:
			s.Quality = last.quality
		case s.Fault == nil:
			s.Quality = driver.Good
		default:
			s.Quality = driver.Bad
		}
	}
	return s
}

// keepLast keeps an answer as the last of a group, and returns the one before, which nobody
// uses any more. bad says that a sample of it is Bad.
func (d *device) keepLast(g *group, s *set, a *answer, at int64, bad bool) *answer {
	old := g.last
	if bad && old.answer != nil && old.set == s {
		for i := range s.index {
			// What the deadband held back was good if it has no fault; what it compares with
			// is of the new answer by now.
			was := &old.answer.samples[i]
			if a.samples[i].Fault != nil && was.Fault == nil && (was.Quality == driver.Good || was.Quality == suppressed) {
				d.noteGood(s.index[i], *was, old.at)
			}
		}
	}
	g.last = lastAnswer{s, a, at}
	if !bad && len(d.good) > 0 {
		for _, point := range s.index {
			delete(d.good, point)
		}
	}
	return old.answer
}

// noteGood keeps a Good sample that is followed by a Bad one; at is its time if it has
// none.
func (d *device) noteGood(point uint32, s driver.Sample, at int64) {
	if d.good == nil {
		d.good = make(map[uint32]goodValue)
	}
	if s.Time.IsZero() {
		s.Time = time.Unix(0, at)
	}
	d.good[point] = goodValue{s.Value, s.Time}
}

// keepPushed keeps samples that the device has sent by itself.
func (d *device) keepPushed(l *lot) {
	if d.pushed == nil {
		d.pushed = make([]driver.Sample, len(d.table.points))
	}
	for i, point := range l.index {
		s := d.unsuppressed(l.samples[i], point, l.at)
		if was := d.pushed[point]; s.Quality == driver.Bad && was.Quality == driver.Good {
			d.noteGood(point, was, 0)
		}
		d.pushed[point] = s
	}
}

// Values returns what is known of the points of a device without asking it, from the first-th
// of its table on. Points of which nothing is known are left out. next is where another
// call goes on; 0: there is no more.
func (e *Engine) Values(_ context.Context, link, device string, first int) (values []control.LastValue, next int, err error) {
	l, d, _, err := e.find(link, device)
	if err != nil {
		return nil, 0, err
	}
	end := len(d.table.points)
	if first = max(first, 0); first >= end {
		return nil, 0, nil
	}
	if next = first + lastPage; next >= end {
		next = 0
	} else {
		end = next
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.lastOf(first, end), next, nil
}

// lastOf is the last values of the points from first to end.
func (d *device) lastOf(first, end int) []control.LastValue {
	found := make([]control.LastValue, end-first)
	for i := range found {
		if d.pushed != nil {
			found[i].Sample = d.pushed[first+i]
		}
	}
	for _, g := range d.groups {
		if g.last.answer == nil {
			continue
		}
		for i, point := range g.last.set.index {
			if int(point) < first || int(point) >= end {
				continue
			}
			v := &found[int(point)-first]
			s := g.last.sample(d, i)
			if before := v.Sample; !s.Time.After(before.Time) {
				continue
			} else if before.Quality == driver.Good {
				v.Good, v.GoodTime = before.Value, before.Time
			}
			v.Sample = s
		}
	}
	known := found[:0]
	for i := range found {
		if v := &found[i]; !v.Time.IsZero() && len(v.Value.Str())+len(v.Value.Bytes()) <= maxLastText {
			d.complete(v, first+i)
			known = append(known, *v)
		}
	}
	return known
}

// complete adds what is known beside the sample.
func (d *device) complete(v *control.LastValue, point int) {
	v.Point = d.table.points[point].Name
	if v.Quality != driver.Bad {
		v.Good, v.GoodTime = driver.Value{}, time.Time{}
	} else if good, ok := d.good[uint32(point)]; ok && good.at.After(v.GoodTime) {
		v.Good, v.GoodTime = good.value, good.at
	}
	if len(v.Good.Str())+len(v.Good.Bytes()) > maxLastText {
		v.Good, v.GoodTime = driver.Value{}, time.Time{}
	}
	if d.last != nil && d.last[point].valid && d.last[point].at != 0 {
		v.Since = time.Unix(0, d.last[point].at)
	}
}
