package spool

import (
	"context"
	"io"
	"time"
)

// Reader reads the records of a spool in order. It holds no file open between
// calls and needs no closing. Only one goroutine at a time may use it.
type Reader struct {
	s     *Spool
	next  Position
	file  *file // that scan reads; nil before the first record
	scan  *scanner
	held  *entry // read ahead of a loss that is told first
	names names
}

// Read gives a reader whose first record is the one at from; 0 means the oldest.
func (s *Spool) Read(from Position) *Reader {
	if from == 0 {
		from = s.First()
	}
	return &Reader{s: s, next: from, names: names{}}
}

// Position gives the position of the record that Next gives next: where a
// reader goes on once everything before it is done.
func (r *Reader) Position() Position { return r.next }

// Wait blocks until Next has something to give.
func (r *Reader) Wait(ctx context.Context) error { return r.s.Wait(ctx, r.next) }

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
			if end, ok := r.start(); !ok {
				return nil, r.atEnd(end)
			}
		}
		if e, ok := r.scan.next(); ok {
			if e.behind() > r.next {
				return &e, nil
			}
			continue
		}
		if r.s.retired(r.file) {
			r.file = nil // and where it was rewritten, another has what is left
			continue
		}
		size, follower, end := r.s.extent(r.file)
		switch {
		case r.scan.grow(size):
		case follower != nil:
			size, _, _ = r.s.extent(follower)
			r.file, r.scan = follower, follower.scan(size)
		default:
			return nil, r.atEnd(end)
		}
	}
}

// start opens the file in which the next position lies, or the oldest one. Where there
// is none it gives the end of the log at that moment.
func (r *Reader) start() (end Position, ok bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	files := r.s.files
	if len(files) == 0 {
		return r.s.last, false
	}
	i := max(0, after(files, r.next)-1)
	r.file, r.scan = files[i], files[i].scan(files[i].size)
	if i == len(files)-1 && r.next >= r.s.last {
		r.scan.off = r.scan.size // everything in it is older
	}
	return r.s.last, true
}

// atEnd tells whether the end of the files is the end of the log, or whether what
// was stored last is lost. end is that of the moment at which the files ended: what was
// stored since then is not lost, but not read yet.
func (r *Reader) atEnd(end Position) error {
	r.s.mu.Lock()
	closed := r.s.closed
	r.s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case r.next < end:
		return r.lost(end)
	}
	return io.EOF
}

// lost steps over the positions up to p, or over those that retention removed.
func (r *Reader) lost(p Position) error {
	from := r.next
	if first := r.s.First(); from < first {
		r.next = min(p, first)
		return &LossError{Loss{
			From: from, To: r.next, Records: uint64(r.next - from), Cause: Retired, Found: time.Now(),
		}}
	}
	r.next = p
	return &LossError{r.s.lossAt(r.s.fileOf(from), from, p)}
}

// fileOf gives the file in which a position lies, nil when there is none.
func (s *Spool) fileOf(p Position) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := after(s.files, p); i > 0 {
		return s.files[i-1]
	}
	return nil
}

// extent gives the readable size of a file, the file that follows it, nil if none
// does, and the end of the log at the same moment.
func (s *Spool) extent(f *file) (size int64, follower *file, end Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extentLocked(f)
}

func (s *Spool) extentLocked(f *file) (size int64, follower *file, end Position) {
	if i := after(s.files, f.first); i < len(s.files) {
		follower = s.files[i]
	}
	return f.size, follower, s.last
}

// Seek gives the position of the first record stored at t or later, or End. It goes by the
// clock of the gateway, which may have been set: no record before that position has such a
// time, but later ones may have earlier times.
func (s *Spool) Seek(t time.Time) Position {
	s.mu.Lock()
	files, last := s.files, s.last
	s.mu.Unlock()
	if t.Before(time.Unix(0, 0)) {
		return s.First()
	}
	for _, f := range files {
		p, ok := s.seekIn(f, t.UnixNano())
		switch {
		case ok:
			return p
		case s.retired(f): // it was removed or rewritten meanwhile
			return s.Seek(t)
		}
	}
	return last
}

// seekIn looks for the first record of a file that was stored at a time or later.
func (s *Spool) seekIn(f *file, at int64) (p Position, ok bool) {
	s.mu.Lock()
	older, size := f.sum != nil && f.sum.newest < at, f.size
	s.mu.Unlock()
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
