package samples

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
)

const (
	// A search goes back through the spool in steps of firstStep records, then twice as many
	// each time, up to lastStep.
	firstStep = 1 << 10
	lastStep  = 1 << 13
	// searchLimit bounds the searching for one question; the next goes on where it ended.
	searchLimit = 2 * time.Second
	// storedKept is how long what was found is kept after the last question.
	storedKept = 5 * time.Minute
	// maxStoredText bounds the bytes of texts that are kept.
	maxStoredText = 32 << 20
)

// A storedValue is the newest sample of a point that was found in the spool.
type storedValue struct {
	at       spool.Position // its record
	sample   driver.Sample
	good     driver.Value // the newest that was Good
	goodAt   spool.Position
	goodTime time.Time
}

// A span is records from from on, before to.
type span struct{ from, to spool.Position }

// storedValues finds the last values of points in the spool. Nothing is done until somebody
// asks; then it reads back from the end as far as it has to, and remembers what it read.
type storedValues struct {
	spool   *spool.Spool
	catalog *catalog.Catalog

	mu       sync.Mutex
	values   map[uint32]storedValue // by handle
	searched []span                 // newest first, none touches another
	texts    int                    // bytes of texts in values
	forget   *time.Timer            // nil: there is nothing to forget
}

// find looks for the last values of points by their handles, and where wanted is true
// for the last Good one too, until the deadline. complete says that what was not found is not
// stored.
func (v *storedValues) find(ctx context.Context, wanted map[uint32]bool, deadline time.Time) (found map[uint32]storedValue, complete bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remember()
	front := v.spool.End()
	for step := spool.Position(firstStep); ; step = min(2*step, lastStep) {
		var floor spool.Position
		front, floor = v.skip(front)
		if complete = front <= v.spool.First() || v.settled(wanted, front); complete {
			break
		}
		low := max(v.spool.First(), floor)
		if front-low > step {
			low = front - step
		}
		read, err := v.read(ctx, low, front, deadline)
		if err != nil {
			return nil, false, err
		}
		if !read {
			break
		}
		v.cover(span{low, front})
	}
	found = make(map[uint32]storedValue, len(wanted))
	for handle := range wanted {
		// What lies before an unread part may not be the last.
		if s, ok := v.values[handle]; ok && s.at >= front {
			if s.goodAt < front {
				s.good, s.goodTime = driver.Value{}, time.Time{}
			}
			found[handle] = s
		}
	}
	return found, complete, nil
}

// remember keeps what is found for a while.
func (v *storedValues) remember() {
	if v.values == nil {
		v.values = make(map[uint32]storedValue)
	}
	if v.forget != nil {
		v.forget.Stop()
	}
	v.forget = time.AfterFunc(storedKept, v.close)
}

// close forgets everything.
func (v *storedValues) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values, v.searched, v.texts = nil, nil, 0
	if v.forget != nil {
		v.forget.Stop()
		v.forget = nil
	}
}

// skip moves front back over what was searched, and returns where the next searched part
// ends.
func (v *storedValues) skip(front spool.Position) (to, floor spool.Position) {
	for _, s := range v.searched {
		if s.to < front {
			return front, s.to
		}
		front = min(front, s.from)
	}
	return front, 0
}

// cover notes that a part was searched, which touches no other but perhaps those beside it.
func (v *storedValues) cover(s span) {
	var list []span
	for _, other := range v.searched {
		switch {
		case other.from == s.to:
			s.to = other.to
		case other.to == s.from:
			s.from = other.from
		default:
			list = append(list, other)
		}
	}
	i := 0
	for i < len(list) && list[i].from > s.from {
		i++
	}
	v.searched = append(list[:i:i], append([]span{s}, list[i:]...)...)
}

// settled reports whether everything wanted was found from front on.
func (v *storedValues) settled(wanted map[uint32]bool, front spool.Position) bool {
	for handle, good := range wanted {
		s, ok := v.values[handle]
		if !ok || s.at < front || good && s.sample.Quality == driver.Bad && s.goodAt < front {
			return false
		}
	}
	return true
}

// read takes the samples of a part of the spool; not ok: the time was over before its end. What
// is missing there is only for those who watch.
func (v *storedValues) read(ctx context.Context, from, to spool.Position, deadline time.Time) (ok bool, err error) {
	stored := stream.Store{Spool: v.spool, Catalog: v.catalog}
	cursor := stored.Open(stream.Before(from), nil)
	for cursor.Position() < to {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		e, err := cursor.Next()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		}
		at := spool.Position(e.Position.Record)
		if at >= to {
			return true, nil
		}
		for s := range e.Samples() {
			if handle, known := e.Handle(s); known {
				v.take(at, handle, &s.Sample)
			}
		}
	}
	return true, nil
}

// take takes a sample of a point in the record at a position.
func (v *storedValues) take(at spool.Position, handle uint32, s *driver.Sample) {
	known := v.values[handle]
	if at < known.at && (s.Quality != driver.Good || at < known.goodAt) {
		return
	}
	sample := *s
	if size := len(sample.Value.Str()) + len(sample.Value.Bytes()); size > 0 {
		if v.texts += size; v.texts > maxStoredText {
			sample = driver.Sample{Quality: driver.Uncertain, Time: s.Time, Fault: driver.Errorf(driver.Unsupported,
				"its text of %d bytes is one too many to be kept here: watch the point", size)}
		}
	}
	if s.Quality == driver.Good && at >= known.goodAt {
		known.good, known.goodAt, known.goodTime = sample.Value, at, s.Time
	}
	if at >= known.at {
		known.at, known.sample = at, sample
	}
	v.values[handle] = known
}
