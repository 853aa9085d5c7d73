package spool

import (
	"context"
	"slices"
	"sync"
	"time"
)

// index is what is known of the records that are stored: the files that hold them, the
// marks, and where they end. The committer publishes to it, retention takes files off it,
// readers look.
//
// mu guards all of it, and of each file its size and its summary; the appender, which alone
// makes a size larger, reads that of its own file without. mu is taken last: nothing else is
// locked or waited for while it is held. The list of files is replaced and never changed in
// place, so whoever got it may go on with it.
type index struct {
	mu          sync.Mutex
	files       fileList // by their first positions; records are appended to the last
	marks       marks
	end         Position      // one behind the last record
	newest      time.Time     // when that was stored
	newestLived time.Duration // and how long the spool had run then
	grown       chan struct{} // closed when end grows; nil while nobody waits
	closed      bool
	syncs       uint64            // groups stored since the opening
	retired     uint64            // records removed since then
	written     map[string]uint64 // bytes stored since then, by driver
}

// list gives the files as they are now.
func (x *index) list() fileList {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files
}

// bounds gives the positions of the first record and behind the last.
func (x *index) bounds() (first, end Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files.first(x.end), x.end
}

// total is the size of all files.
func (x *index) total() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files.total()
}

// mark gives the mark of the epoch that was stored last of a driver.
func (x *index) mark(driver string) mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.marks.last(driver)
}

// markOf gives the highest sequence stored of an epoch of a driver.
func (x *index) markOf(driver string, epoch uint64) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	sequence, _ := x.marks.sequence(driver, epoch)
	return sequence
}

// wait blocks until the record at p is stored. Its errors are those of ctx, and ErrClosed.
func (x *index) wait(ctx context.Context, p Position) error {
	for {
		x.mu.Lock()
		if p < x.end {
			x.mu.Unlock()
			return nil
		}
		if x.closed {
			x.mu.Unlock()
			return ErrClosed
		}
		if x.grown == nil {
			x.grown = make(chan struct{})
		}
		grown := x.grown
		x.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaited reports whether somebody is in wait.
func (x *index) awaited() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.grown != nil
}

// wake has those in wait look again; mu is held.
func (x *index) wake() {
	if x.grown != nil {
		close(x.grown)
		x.grown = nil
	}
}

// close ends all waiting.
func (x *index) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.wake()
}

func (x *index) isClosed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

// publish makes records visible that were synced in the last file, size bytes in all, when
// the spool had run for lived. It gives the end behind them.
func (x *index) publish(items []item, size int, lived time.Duration) (end Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if size == 0 {
		return x.end
	}
	f := x.files.last()
	for i := range items {
		it := &items[i]
		if it.size == 0 {
			continue
		}
		x.marks.raise(it.driver, it.epoch, it.sequence)
		x.end, x.newest = it.position+1, it.time
		if f.sum != nil {
			f.sum.add(it.driver, it.size, it.time.UnixNano())
		}
		x.written[it.driver] += uint64(it.size)
	}
	f.size += int64(size)
	x.newestLived = lived
	x.syncs++
	x.wake()
	return x.end
}

// before gives what the head of the next file tells: the marks, and the last file's summary
// where it has one.
func (x *index) before() (marks []byte, of tag, sum *summary) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f := x.files.last(); f != nil && f.sum != nil {
		of, sum = f.tag, f.sum.clone()
	}
	return x.marks.encode(), of, sum
}

// add puts a file behind the others.
func (x *index) add(f *file) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = append(x.files, f)
}

// removeLast takes the last file off the list; it holds no record.
func (x *index) removeLast() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = slices.Clone(x.files[:len(x.files)-1])
}

// replace puts one file in the place of old ones, which gone fewer records are in.
func (x *index) replace(old []*file, f *file, gone uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := slices.Index(x.files, old[0])
	x.files = slices.Replace(slices.Clone(x.files), at, at+len(old), f)
	x.retired += gone
}

// retire takes the first n files off the list and gives them.
func (x *index) retire(n int) []*file {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.retireFirst(n)
}

// retireAged is retire for the files of which all records were stored before the spool had
// run for a time. The last keep files stay.
func (x *index) retireAged(lived time.Duration, keep int) []*file {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for ; n < len(x.files)-keep; n++ {
		newest := x.newestLived
		if n+1 < len(x.files) {
			newest = x.files[n+1].lived
		}
		if newest >= lived {
			break
		}
	}
	return x.retireFirst(n)
}

// retireOver is retire for as many files as lead to no more than most bytes. The last keep
// files stay.
func (x *index) retireOver(most int64, keep int) []*file {
	x.mu.Lock()
	defer x.mu.Unlock()
	total, n := x.files.total(), 0
	for ; n < len(x.files)-keep && total > most; n++ {
		total -= x.files[n].size
	}
	return x.retireFirst(n)
}

// retireFirst is retire; mu is held.
func (x *index) retireFirst(n int) []*file {
	if n == 0 {
		return nil
	}
	end := x.end
	if n < len(x.files) {
		end = x.files[n].first
	}
	x.retired += uint64(end - x.files[0].first)
	gone := x.files[:n]
	for _, f := range gone {
		if f.sum != nil {
			x.retired -= f.sum.retired // was counted when it went
		}
	}
	x.files = slices.Clone(x.files[n:])
	return gone
}

// holds reports whether a file is still on the list.
func (x *index) holds(f *file) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(x.files, f)
}

// fileOf gives the file in which a position lies, nil when there is none.
func (x *index) fileOf(p Position) *file {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files.of(p)
}

// extent gives the readable size of a file, the file that follows it, nil if none
// does, and the end of the log at the same moment.
func (x *index) extent(f *file) (size int64, follower *file, end Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return f.size, x.files.follower(f), x.end
}

// extentAndMarks is extent with a copy of the marks of the same moment.
func (x *index) extentAndMarks(f *file) (size int64, follower *file, end Position, m marks) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return f.size, x.files.follower(f), x.end, x.marks.clone()
}

// locate gives the file in which a position lies, or the oldest one, and a scanner of it.
// Without any file f is nil. end is the end of the log at that moment.
func (x *index) locate(p Position) (f *file, scan *scanner, end Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.files) == 0 {
		return nil, nil, x.end
	}
	i := max(0, x.files.after(p)-1)
	f = x.files[i]
	scan = f.scan(f.size)
	if i == len(x.files)-1 && p >= x.end {
		scan.off = scan.size // everything in it is older
	}
	return f, scan, x.end
}

// measure gives a copy of the summary of a file, which it reads where nobody wrote one, and
// the size that it is of.
func (x *index) measure(f *file) (sum *summary, size int64) {
	x.mu.Lock()
	size = f.size
	if f.sum != nil {
		defer x.mu.Unlock()
		return f.sum.clone(), size
	}
	x.mu.Unlock()
	sum = f.summarize(size)
	x.mu.Lock()
	defer x.mu.Unlock()
	if f.sum == nil && f.size == size {
		f.sum = sum.clone()
	}
	return sum, size
}
