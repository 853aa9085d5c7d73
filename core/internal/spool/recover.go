package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recovery fills an index from what the directory holds, when a spool is opened. Nobody else
// has the index or the appender yet, so their locks are not taken.
type recovery struct {
	dir       string
	o         *Options
	index     *index
	damage    *damage
	retention *retention
	uptime    *uptime
	out       *appender
	hint      *endHint
}

// run reads the directory. Only the last file, and those before it up to one whose marks are
// whole, are read in full here; the scrub reads the others.
func (r *recovery) run() error {
	files, replaced, err := listFiles(r.dir)
	if err != nil {
		return err
	}
	r.sweep(replaced)
	x := r.index
	x.files, x.marks, x.end = files, marks{}, 1
	end, lived := r.hint.read()
	synced := end
	start := 0
	for i, f := range files {
		m, since, ok := f.head(f.size)
		if ok {
			x.marks, start, f.since = m, i, since
		}
		synced = max(synced, f.end)
	}
	lived = r.readHeads(lived)
	for i := start; i < len(files)-1; i++ {
		r.readMarks(files[i], files[i+1].first)
	}
	for kept := false; !kept && len(x.files) > 0; {
		f := x.files.last()
		if kept, err = r.readLast(f, synced); err != nil {
			return err
		}
		synced = max(synced, f.first)
	}
	x.end = max(x.end, synced)
	r.uptime.begin(lived, x.newest)
	if x.end != end {
		r.hint.write(x.end, r.uptime.now())
	}
	if synced == 0 {
		_ = r.hint.f.Sync() // so that a power cut does not take the file itself; its content is a hint
	}
	return nil
}

// readMarks takes the marks from a file that another one follows, which was
// begun when everything before it was synced.
func (r *recovery) readMarks(f *file, follower Position) {
	t := r.newTailScan(f, f.first)
	sc := f.scan(f.size)
	sc.reuse = true
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		t.add(&e, 0)
	}
	t.prove(follower)
	if f.sum == nil && f.end == 0 {
		f.sum = t.sum
	}
}

// sweep removes what a crash in the midst of a retention left.
func (r *recovery) sweep(replaced []*file) {
	r.retention.unlink(replaced)
	left, _ := filepath.Glob(filepath.Join(r.dir, "*"+fileSuffix+newSuffix))
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			r.o.Log.Warn("spool cannot remove a file that was never finished", "file", path, "err", err)
		}
	}
}

// readHeads takes what the heads say of files. For one whose head does not say when it
// was begun the times of the records around it do. It gives how long the spool has run at
// least.
func (r *recovery) readHeads(lived time.Duration) time.Duration {
	known := make([]bool, len(r.index.files))
	for i, f := range r.index.files {
		a, ok := f.about(f.size)
		if !ok {
			continue
		}
		f.names, f.lived, known[i] = a.names, a.lived, true
		lived = max(lived, a.lived)
		switch {
		case a.of == f.tag:
			f.sum = a.sum
		case i > 0 && a.of == r.index.files[i-1].tag && r.index.files[i-1].end == 0:
			r.index.files[i-1].sum = a.sum
		}
	}
	for i, f := range slices.Backward(r.index.files) {
		switch {
		case known[i]:
		case i == len(r.index.files)-1:
			f.lived = lived
		default:
			f.lived = r.index.files[i+1].lived - max(0, r.index.files[i+1].since.Sub(f.since))
		}
		if !known[i] && i > 0 { // it may hold anything: a file is not appended to under another name
			f.names = r.index.files[i-1].names
		}
	}
	r.index.newestLived = lived
	return lived
}

// readLast takes the marks from the last file and decides where the log ends:
// behind the last record that is known to be synced, or that follows one without
// a hole. What lies behind was being written when the power went and was never
// acknowledged: it is cut off, and its driver sends it again. A file without any
// record is removed.
func (r *recovery) readLast(f *file, synced Position) (kept bool, err error) {
	t := r.newTailScan(f, max(f.first, synced))
	sc := f.scan(f.size)
	sc.reuse = true
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		t.add(&e, sc.skipped)
	}
	damaged := sc.skipped > 0
	r.index.end = t.cut()
	if r.index.end == f.first {
		if synced > 0 || !damaged {
			r.index.files = r.index.files[:len(r.index.files)-1]
			return false, os.Remove(f.path)
		}
		r.index.end++ // it is all damage, so there was at least one record
	}
	if f.end == 0 {
		f.sum = t.sum
	}
	if at := t.unfinished(r.index.end, f.size); at < f.size {
		r.o.Log.Warn("spool drops an unfinished write", "file", f.path, "bytes", f.size-at)
		f.size, damaged = at, t.skipped > 0
	}
	whole := t.whole == r.index.end && !t.holes && !damaged && f.end == 0 && f.names == r.o.Names
	return true, r.resume(f, r.index.end > synced, whole && f.size < r.o.FileBytes)
}

// resume cuts the last file to its size, makes sure that what recovery found is on
// the disk and not only in the kernel's memory, and goes on in it if it is sound.
func (r *recovery) resume(f *file, unsynced, sound bool) error {
	h, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("spool: open %s: %w", f.path, err)
	}
	info, err := h.Stat()
	if err == nil && info.Size() > f.size {
		err = h.Truncate(f.size)
		unsynced = true
	}
	if err == nil && unsynced {
		err = h.Sync()
	}
	if err != nil || !sound {
		_ = h.Close() // it was synced, or its failure is returned
	}
	if err != nil {
		return fmt.Errorf("spool: recover %s: %w", f.path, err)
	}
	if sound {
		r.out.file, r.out.handle = f, h
	} else {
		r.damage.verify(context.Background(), f)
	}
	return nil
}

// settle takes a record that stays into the marks.
func (r *recovery) settle(e *seen) {
	r.index.marks.raise(e.driver, e.epoch, e.sequence)
	r.index.newest = e.stored
}

func (r *recovery) newTailScan(f *file, proven Position) *tailScan {
	return &tailScan{proven: proven, expected: f.first, whole: f.first, settle: r.settle, names: names{}, sum: &summary{}}
}

// seen is what recovery keeps of a record.
type seen struct {
	position, group Position
	driver          string
	epoch, sequence uint64
	stored          time.Time
	start, end      int64
	skipped         int64 // damaged bytes before it
}

// tailScan follows the records of a file and keeps those that are not yet known
// to be synced. A commit group is synced before the next one is written, so that
// a group is in the file proves every record before it.
type tailScan struct {
	proven   Position // everything before it was synced
	expected Position // one behind the last record seen
	holes    bool     // records before proven are missing
	tail     []seen
	settle   func(*seen)
	names    names
	sum      *summary // of what stays
	whole    Position // one behind the last record that stays
	wholeAt  int64    // where it ends
	skipped  int64    // damaged bytes before it
}

func (t *tailScan) add(e *entry, skipped int64) {
	if e.kind != kindRecord || e.position < t.expected {
		return
	}
	t.expected = e.position + 1
	t.tail = append(t.tail, seen{
		position: e.position, group: e.group, driver: t.names.of(e.name), epoch: e.epoch,
		sequence: e.sequence, stored: time.Unix(0, e.stored), start: e.start, end: e.end,
		skipped: skipped,
	})
	t.prove(max(t.proven, e.group))
}

// prove settles every record before p.
func (t *tailScan) prove(p Position) {
	t.proven = p
	n := 0
	for ; n < len(t.tail) && t.tail[n].position < p; n++ {
		t.keep(&t.tail[n])
	}
	t.tail = t.tail[:copy(t.tail, t.tail[n:])]
}

func (t *tailScan) keep(e *seen) {
	t.settle(e)
	t.sum.add(e.driver, int(e.end-e.start), e.stored.UnixNano())
	t.holes = t.holes || t.whole != e.position
	t.whole, t.wholeAt, t.skipped = e.position+1, e.end, e.skipped
}

// cut settles what follows the proven records without a hole and tells where the
// log ends. The rest stays in tail.
func (t *tailScan) cut() Position {
	end := t.proven
	for len(t.tail) > 0 && t.tail[0].position == end {
		t.keep(&t.tail[0])
		t.tail = t.tail[1:]
		end++
	}
	return end
}

// unfinished gives the offset from which on nothing belongs to a log that ends at
// end. Where its last records are damaged, their bytes stay as they are.
func (t *tailScan) unfinished(end Position, size int64) int64 {
	switch {
	case t.whole == end:
		return t.wholeAt
	case len(t.tail) > 0:
		return t.tail[0].start
	}
	return size
}
