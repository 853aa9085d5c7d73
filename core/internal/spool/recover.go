package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recover reads what the directory holds. Only the last file, and those before it
// up to one whose marks are whole, are read in full here; scrub reads the others.
func (s *Spool) recover() error {
	files, replaced, err := listFiles(s.dir)
	if err != nil {
		return err
	}
	s.sweep(replaced)
	if err := s.openEnd(); err != nil {
		return err
	}
	s.files, s.stored, s.last = files, marks{}, 1
	end, lived := s.readEnd()
	synced := end
	start := 0
	for i, f := range files {
		m, since, ok := f.head(f.size)
		if ok {
			s.stored, start, f.since = m, i, since
		}
		synced = max(synced, f.end)
	}
	s.recoverAbout(lived)
	for i := start; i < len(files)-1; i++ {
		s.recoverMarks(files[i], files[i+1].first)
	}
	for kept := false; !kept && len(s.files) > 0; {
		f := s.tail()
		if kept, err = s.recoverLast(f, synced); err != nil {
			return err
		}
		synced = max(synced, f.first)
	}
	s.last = max(s.last, synced)
	s.accepted, s.next = s.stored.clone(), s.last
	s.beginUptime()
	if s.last != end {
		s.writeEnd(s.last, s.lived())
	}
	if synced == 0 {
		_ = s.end.Sync() // so that a power cut does not take the file itself; its content is a hint
	}
	return nil
}

// recoverMarks takes the marks from a file that another one follows, which was
// begun when everything before it was synced.
func (s *Spool) recoverMarks(f *file, follower Position) {
	t := s.newTailScan(f, f.first)
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
func (s *Spool) sweep(replaced []*file) {
	s.unlink(replaced)
	left, _ := filepath.Glob(filepath.Join(s.dir, "*"+fileSuffix+newSuffix))
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			s.log.Warn("spool cannot remove a file that was never finished", "file", path, "err", err)
		}
	}
}

// recoverAbout takes what the heads say of files. For one whose head does not say when it
// was begun the times of the records around it do.
func (s *Spool) recoverAbout(lived time.Duration) {
	known := make([]bool, len(s.files))
	for i, f := range s.files {
		a, ok := f.about(f.size)
		if !ok {
			continue
		}
		f.names, f.lived, known[i] = a.names, a.lived, true
		lived = max(lived, a.lived)
		switch {
		case a.of == f.tag:
			f.sum = a.sum
		case i > 0 && a.of == s.files[i-1].tag && s.files[i-1].end == 0:
			s.files[i-1].sum = a.sum
		}
	}
	for i, f := range slices.Backward(s.files) {
		switch {
		case known[i]:
		case i == len(s.files)-1:
			f.lived = lived
		default:
			f.lived = s.files[i+1].lived - max(0, s.files[i+1].since.Sub(f.since))
		}
		if !known[i] && i > 0 { // it may hold anything: a file is not appended to under another name
			f.names = s.files[i-1].names
		}
	}
	s.uptime.before, s.newestLived = lived, lived
}

// beginUptime goes on counting where the last process ended.
func (s *Spool) beginUptime() {
	s.uptime.opened = time.Now()
	if !s.newest.IsZero() {
		s.uptime.closed = max(0, s.uptime.opened.Sub(s.newest))
	}
}

// recoverLast takes the marks from the last file and decides where the log ends:
// behind the last record that is known to be synced, or that follows one without
// a hole. What lies behind was being written when the power went and was never
// acknowledged: it is cut off, and its driver sends it again. A file without any
// record is removed.
func (s *Spool) recoverLast(f *file, synced Position) (kept bool, err error) {
	t := s.newTailScan(f, max(f.first, synced))
	sc := f.scan(f.size)
	sc.reuse = true
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		t.add(&e, sc.skipped)
	}
	damaged := sc.skipped > 0
	s.last = t.cut()
	if s.last == f.first {
		if synced > 0 || !damaged {
			s.files = s.files[:len(s.files)-1]
			return false, os.Remove(f.path)
		}
		s.last++ // it is all damage, so there was at least one record
	}
	if f.end == 0 {
		f.sum = t.sum
	}
	if at := t.unfinished(s.last, f.size); at < f.size {
		s.log.Warn("spool drops an unfinished write", "file", f.path, "bytes", f.size-at)
		f.size, damaged = at, t.skipped > 0
	}
	whole := t.whole == s.last && !t.holes && !damaged && f.end == 0 && f.names == s.o.Names
	return true, s.resume(f, s.last > synced, whole && f.size < s.o.FileBytes)
}

// resume cuts the last file to its size, makes sure that what recovery found is on
// the disk and not only in the kernel's memory, and goes on in it if it is sound.
func (s *Spool) resume(f *file, unsynced, sound bool) error {
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
		_ = h.Close() // it was synced, or its failure is told
	}
	if err != nil {
		return fmt.Errorf("spool: recover %s: %w", f.path, err)
	}
	if sound {
		s.active = h
	} else {
		s.verify(context.Background(), f)
	}
	return nil
}

// settle takes a record that stays into the marks.
func (s *Spool) settle(e *seen) {
	s.stored.raise(e.driver, e.epoch, e.sequence)
	s.newest = e.stored
}

func (s *Spool) newTailScan(f *file, proven Position) *tailScan {
	return &tailScan{proven: proven, expected: f.first, whole: f.first, settle: s.settle, names: names{}, sum: &summary{}}
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

// The file "end" holds the position behind the last acknowledged record. It is
// written after each group but not synced: after a crash of the gateway it is
// exact, after a power cut a lower bound. It tells a tail that was cut off from
// one that was never finished. Behind it stands how long the spool had run, with a
// checksum of its own: an earlier version did not write it.
const (
	endSize   = 20
	livedSize = 12
)

var endMagic = [8]byte{'f', 'l', 's', 'p', 'l', 'e', 'n', 'd'}

func (s *Spool) openEnd() error {
	path := filepath.Join(s.dir, "end")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("spool: open %s: %w", path, err)
	}
	s.end = f
	return nil
}

// readEnd gives 0 when the file says nothing.
func (s *Spool) readEnd() (p Position, lived time.Duration) {
	var b [endSize + livedSize]byte
	n, _ := s.end.ReadAt(b[:], 0)
	if n >= endSize && [8]byte(b[:8]) == endMagic && binary.LittleEndian.Uint32(b[16:]) == crc32.Checksum(b[:16], castagnoli) {
		p = Position(binary.LittleEndian.Uint64(b[8:]))
	}
	if v := b[endSize:]; n == len(b) && binary.LittleEndian.Uint32(v[8:]) == crc32.Checksum(v[:8], castagnoli) {
		lived = time.Duration(max(0, int64(binary.LittleEndian.Uint64(v))))
	}
	return p, lived
}

func (s *Spool) writeEnd(p Position, lived time.Duration) {
	b := make([]byte, 0, endSize+livedSize)
	b = append(b, endMagic[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = binary.LittleEndian.AppendUint64(b, uint64(lived))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[endSize:], castagnoli))
	err := s.o.inject("end")
	if err == nil {
		_, err = s.end.WriteAt(b, 0)
	}
	if err != nil && !s.endFailed {
		s.log.Warn("spool cannot note its end; a tail cut off by a foreign hand may stay unnoticed", "err", err)
	}
	s.endFailed, s.endWritten = err != nil, true
}
