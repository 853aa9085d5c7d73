package engine

import (
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

// values are what the points of one device were last: what its deadbands compare with, and
// what is answered to who asks without asking the device. The link's lock guards it.
type values struct {
	table  *table
	last   []sent               // by point, what was sent; nil without deadbands
	gaps   uint64               // handed out when last was valid
	pushed []driver.Sample      // by point, what the device has sent by itself; nil: nothing
	good   map[uint32]goodValue // by point, of those that are Bad now, and perhaps others
}

func newValues(t *table) values {
	v := values{table: t}
	if t.banded {
		v.last = make([]sent, len(t.points))
	}
	return v
}

// forget has the deadbands send every point once more. gaps is how many gaps were handed out.
func (v *values) forget(gaps uint64) {
	v.gaps = gaps
	clear(v.last)
}

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

// shape makes the user's samples of a set's raw ones, in place: scaled, with a
// fault wherever the quality is not Good, and marked as suppressed where the deadband
// holds them back. at is the time of those without one, in Unix nanoseconds.
func (v *values) shape(s *set, samples []driver.Sample, fault *driver.Error, at int64, gaps uint64) (o outcome) {
	if v.gaps != gaps { // a gap was handed out: send everything once more
		v.forget(gaps)
	}
	shapes := v.table.shapes
	bad, held := 0, 0
	for i := range samples {
		sample := &samples[i]
		if sample.Quality != driver.Good || sample.Fault != nil || sample.Value.Kind() >= driver.KindString {
			mend(sample, fault)
		}
		if sample.Quality == driver.Bad {
			bad++
			o.bad = true
			o.unsupported = o.unsupported || sample.Fault.Code == driver.Unsupported
		}
		if shapes == nil {
			continue
		}
		point := s.index[i]
		sh := &shapes[point]
		sample.Value = sh.toUser(sample.Value)
		if sh.banded && sh.hold(&v.last[point], sample, at) {
			if sample.Quality == driver.Bad {
				bad--
			}
			sample.Quality = suppressed
			held++
		}
	}
	o.sent, o.badSent = len(samples)-held, bad
	return o
}

// outcome is what shape found among samples.
type outcome struct {
	sent        int  // how many the deadbands do not hold back, ...
	badSent     int  // ... and how many of these are Bad
	bad         bool // one is Bad, sent or held back
	unsupported bool // one's point is
}

// mend gives a sample that a driver left half done its sense.
func mend(s *driver.Sample, fault *driver.Error) {
	if s.Quality == driver.Good {
		s.Fault = nil
		if k := s.Value.Kind(); k < driver.KindString || len(s.Value.Str())+len(s.Value.Bytes()) <= maxValueBytes {
			return
		}
		*s = driver.Sample{Time: s.Time, Fault: errTooLong}
		return
	}
	if s.Quality > driver.Good {
		s.Quality = driver.Bad
	}
	if len(s.Value.Str())+len(s.Value.Bytes()) > maxValueBytes {
		s.Value = driver.Value{}
	}
	if s.Fault != nil || s.Quality == driver.Uncertain {
		return
	}
	if s.Fault = fault; fault == nil {
		s.Fault = errUnread
	}
}

// sample returns the i-th sample, as it would have been sent.
func (a *lastAnswer) sample(v *values, i int) driver.Sample {
	s := a.answer.samples[i]
	return v.unsuppressed(s, a.set.index[i], a.at)
}

// unsuppressed gives a sample that shape has seen its time, and its quality where the deadband held
// it back.
func (v *values) unsuppressed(s driver.Sample, point uint32, at int64) driver.Sample {
	if s.Time.IsZero() {
		s.Time = time.Unix(0, at)
	}
	if s.Quality == suppressed {
		switch last := &v.last[point]; {
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
func (v *values) keepLast(g *group, s *set, a *answer, at int64, bad bool) *answer {
	old := g.last
	if bad && old.answer != nil && old.set == s {
		for i := range s.index {
			// What the deadband held back was good if it has no fault; what it compares with
			// is of the new answer by now.
			was := &old.answer.samples[i]
			if a.samples[i].Fault != nil && was.Fault == nil && (was.Quality == driver.Good || was.Quality == suppressed) {
				v.noteGood(s.index[i], *was, old.at)
			}
		}
	}
	g.last = lastAnswer{s, a, at}
	if !bad && len(v.good) > 0 {
		for _, point := range s.index {
			delete(v.good, point)
		}
	}
	return old.answer
}

// noteGood keeps a Good sample that is followed by a Bad one; at is its time if it has
// none.
func (v *values) noteGood(point uint32, s driver.Sample, at int64) {
	if v.good == nil {
		v.good = make(map[uint32]goodValue)
	}
	if s.Time.IsZero() {
		s.Time = time.Unix(0, at)
	}
	v.good[point] = goodValue{s.Value, s.Time}
}

// keepPushed keeps samples that the device has sent by itself.
func (v *values) keepPushed(l *lot) {
	if v.pushed == nil {
		v.pushed = make([]driver.Sample, len(v.table.points))
	}
	for i, point := range l.index {
		s := v.unsuppressed(l.samples[i], point, l.at)
		if was := v.pushed[point]; s.Quality == driver.Bad && was.Quality == driver.Good {
			v.noteGood(point, was, 0)
		}
		v.pushed[point] = s
	}
}

// lastOf is the last values of the points from first to end.
func (v *values) lastOf(groups []*group, first, end int) []control.LastValue {
	found := make([]control.LastValue, end-first)
	for i := range found {
		if v.pushed != nil {
			found[i].Sample = v.pushed[first+i]
		}
	}
	for _, g := range groups {
		if g.last.answer == nil {
			continue
		}
		for i, point := range g.last.set.index {
			if int(point) < first || int(point) >= end {
				continue
			}
			value := &found[int(point)-first]
			s := g.last.sample(v, i)
			if before := value.Sample; !s.Time.After(before.Time) {
				continue
			} else if before.Quality == driver.Good {
				value.Good, value.GoodTime = before.Value, before.Time
			}
			value.Sample = s
		}
	}
	known := found[:0]
	for i := range found {
		if value := &found[i]; !value.Time.IsZero() && len(value.Value.Str())+len(value.Value.Bytes()) <= maxLastText {
			v.complete(value, first+i)
			known = append(known, *value)
		}
	}
	return known
}

// complete adds what is known beside the sample.
func (v *values) complete(value *control.LastValue, point int) {
	value.Point = v.table.points[point].Name
	if value.Quality != driver.Bad {
		value.Good, value.GoodTime = driver.Value{}, time.Time{}
	} else if good, ok := v.good[uint32(point)]; ok && good.at.After(value.GoodTime) {
		value.Good, value.GoodTime = good.value, good.at
	}
	if len(value.Good.Str())+len(value.Good.Bytes()) > maxLastText {
		value.Good, value.GoodTime = driver.Value{}, time.Time{}
	}
	if v.last != nil && v.last[point].valid && v.last[point].at != 0 {
		value.Since = time.Unix(0, v.last[point].at)
	}
}

// appendLast appends what all deadbands compare with.
func (v *values) appendLast(dst []byte) []byte {
	skip := 0
	for i := range v.last {
		last := &v.last[i]
		if !last.valid || len(last.value.Str())+len(last.value.Bytes()) > maxHandValue {
			skip++
			continue
		}
		dst = appendSent(dst, skip, last)
		skip = 0
	}
	return dst
}

// readLast takes over what appendLast wrote, as far as it can be read.
func (v *values) readLast(data []byte) {
	for at := uint64(0); len(data) > 0; at++ {
		skip, s, rest, ok := parseSent(data)
		if !ok || skip >= uint64(len(v.last)) || at+skip >= uint64(len(v.last)) {
			return
		}
		at += skip
		v.last[at] = s
		data = rest
	}
}
