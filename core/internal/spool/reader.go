package spool

import (
	"context"
	"io"
	"time"
)

// Reader reads the records of a spool in order. It holds no file open between
// calls and needs no closing. Only one goroutine at a time may use it.
type Reader struct {
	index  *index
	damage *damage
	next   Position
	file   *file // that scan reads; nil before the first record
	scan   *scanner
	held   *entry // read already, while a loss before it is returned first
	names  names
}

// Position gives the position of the record that Next gives next: where a
// reader goes on once everything before it is done.
func (r *Reader) Position() Position { return r.next }

// Wait blocks until Next has something to give.
func (r *Reader) Wait(ctx context.Context) error { return r.index.wait(ctx, r.next) }

// Next gives the next record and its position. Its data stays as it is, but keeps
// up to 256 KiB around it in memory as long as it is referred to. At the present
// end it gives io.EOF, and may be called again later. For records that were lost
// it gives one *LossError and then goes on behind them.
func (r *Reader) Next() (Record, Position, error) {
	e, err := r.entry()
	if err != nil {
		return Record{}, r.next, err
	}
	if e.position > r.next {
		r.held = e
		return Record{}, r.next, r.lost(e.position)
	}
	if e.kind == kindRetired {
		return Record{}, r.next, r.retired(e)
	}
	r.next = e.position + 1
	return Record{
		Driver: r.names.of(e.name), Epoch: e.epoch, Sequence: e.sequence,
		Stored: time.Unix(0, e.stored), Data: e.data, Names: r.file.names,
	}, e.position, nil
}

// retired steps over records that retention has taken out of a file.
func (r *Reader) retired(e *entry) error {
	gone, _ := decodeRetired(e.data)
	from, to := r.next, e.position+Position(gone.count)
	l := Loss{From: from, To: to, Records: uint64(to - from), Cause: Retired, Found: time.Now()}
	if from == e.position || len(gone.uses) == 1 {
		l.Drivers = gone.drivers()
		for driver := range l.Drivers {
			l.Drivers[driver] = min(l.Drivers[driver], l.Records)
		}
	}
	r.next = to
	return &LossError{l}
}

// behind gives the position behind what an entry stands for; 0 where it stands for none.
func (e *entry) behind() Position {
	switch e.kind {
	case kindRecord:
		return e.position + 1
	case kindRetired:
		if gone, ok := decodeRetired(e.data); ok {
			return e.position + Position(gone.count)
		}
	}
	return 0
}

// entry finds the first record at or behind the next position.
func (r *Reader) entry() (*entry, error) {
	if e := r.held; e != nil {
		r.held = nil
		return e, nil
	}
	for {
		if r.file == nil {
			var end Position
			if r.file, r.scan, end = r.index.locate(r.next); r.file == nil {
				return nil, r.atEnd(end)
			}
		}
		if e, ok := r.scan.next(); ok {
			if e.behind() > r.next {
				return &e, nil
			}
			continue
		}
		if !r.index.holds(r.file) {
			r.file = nil // and where it was rewritten, another has what is left
			continue
		}
		size, follower, end := r.index.extent(r.file)
		switch {
		case r.scan.grow(size):
		case follower != nil:
			size, _, _ = r.index.extent(follower)
			r.file, r.scan = follower, follower.scan(size)
		default:
			return nil, r.atEnd(end)
		}
	}
}

// atEnd reports whether the end of the files is the end of the log, or whether what was stored
// last is lost. end is that of the moment at which the files ended: what was stored since then
// is not lost, but not read yet.
func (r *Reader) atEnd(end Position) error {
	switch {
	case r.index.isClosed():
		return ErrClosed
	case r.next < end:
		return r.lost(end)
	}
	return io.EOF
}

// lost steps over the positions up to p, or over those that retention removed.
func (r *Reader) lost(p Position) error {
	from := r.next
	if first, _ := r.index.bounds(); from < first {
		r.next = min(p, first)
		return &LossError{Loss{
			From: from, To: r.next, Records: uint64(r.next - from), Cause: Retired, Found: time.Now(),
		}}
	}
	r.next = p
	return &LossError{r.damage.at(r.index.fileOf(from), from, p)}
}

// seek is Spool.Seek.
func (x *index) seek(t time.Time) Position {
	x.mu.Lock()
	files, first, end := x.files, x.files.first(x.end), x.end
	x.mu.Unlock()
	if t.Before(time.Unix(0, 0)) {
		return first
	}
	for _, f := range files {
		p, ok := x.seekIn(f, t.UnixNano())
		switch {
		case ok:
			return p
		case !x.holds(f): // it was removed or rewritten meanwhile
			return x.seek(t)
		}
	}
	return end
}

// seekIn looks for the first record of a file that was stored at a time or later.
func (x *index) seekIn(f *file, at int64) (p Position, ok bool) {
	x.mu.Lock()
	older, size := f.sum != nil && f.sum.newest < at, f.size
	x.mu.Unlock()
	if older {
		return 0, false
	}
	sc := f.scan(size)
	sc.reuse = true
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		if e.kind == kindRecord && e.stored >= at {
			return e.position, true
		}
	}
	return 0, false
}
