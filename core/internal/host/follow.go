package host

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

const (
	// emptyAfter is how many bytes were read of a file that is emptied when it has
	// not grown for quietFor. A file that never rests is emptied after less, once it
	// has half of what it may have; at the limit its writer cannot but rest.
	emptyAfter = 64 << 10
	quietFor   = 10 * time.Millisecond
	hastyAfter = maxOutput / 2
	hastyFor   = time.Millisecond
	// maxBacklog is what a file may hold that was not read yet. Beyond it all but
	// keptBacklog is left out: a file, unlike a pipe, does not slow down who floods it.
	maxBacklog  = 4 << 20
	keptBacklog = 64 << 10
)

// follower reads a file that a process appends to as if it were a pipe, and empties
// it. What the process writes in the microseconds between the last look and the
// emptying is lost, which is why it waits for a moment in which nothing is written.
type follower struct {
	file   *os.File
	wake   chan struct{}
	ended  <-chan struct{}   // the process is dead: what is there is all there will be
	quit   <-chan struct{}   // nothing more is to be read
	note   func(int64)       // keeps the place for a later follower; called by Read
	lost   func(bytes int64) // hears what was left out, at most once in heldFor; called by Read
	offset int64
	kept   []byte // of a backlog
	untold int64  // bytes that were left out and that lost has not heard of
	told   time.Time
}

var _ io.Reader = (*follower)(nil)

// Read blocks until there is something, and answers io.EOF at the end of the process, or of the
// following.
func (f *follower) Read(p []byte) (int, error) {
	for {
		if len(f.kept) > 0 {
			n := copy(p, f.kept)
			f.kept = f.kept[n:]
			return n, nil
		}
		f.note(f.offset)
		if isClosed(f.quit) {
			f.tell()
			return 0, io.EOF
		}
		ended := isClosed(f.ended) // before the look, which then sees all
		n, err := f.look(p, ended)
		if n > 0 || err != nil {
			return n, err
		}
		if len(f.kept) > 0 {
			continue
		}
		if ended {
			f.tell()
			return 0, io.EOF
		}
		if err := f.rest(); err != nil {
			return 0, err
		}
	}
}

// rest waits for more, and empties the file when it is time.
func (f *follower) rest() error {
	var quiet, due <-chan time.Time
	if f.untold > 0 {
		due = time.After(time.Until(f.told.Add(heldFor)))
	}
	switch {
	case f.offset >= hastyAfter:
		quiet = time.After(hastyFor)
	case f.offset >= emptyAfter:
		quiet = time.After(quietFor)
	}
	select {
	case <-quiet:
		return f.empty()
	case <-due:
		f.tell()
	case <-f.wake:
	case <-f.ended:
	case <-f.quit:
	}
	return nil
}

// look reads what is there. Of a process that is dead only the end is of interest: its
// death must not wait for all that it said.
func (f *follower) look(p []byte, ended bool) (int, error) {
	size, err := f.size()
	if err != nil {
		return 0, err
	}
	if size < f.offset { // the process has shortened it, while no core was there
		f.offset = 0
	}
	if backlog := size - f.offset; backlog > maxBacklog || ended && backlog > keptBacklog {
		return 0, f.skip(size)
	}
	n, err := f.file.ReadAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 || errors.Is(err, io.EOF) {
		return n, nil // io.EOF would be the end
	}
	return 0, err
}

func (f *follower) size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *follower) empty() error {
	size, err := f.size()
	if err != nil || size != f.offset {
		return err
	}
	f.offset = 0
	return f.file.Truncate(0)
}

// skip leaves out all but the end of a backlog.
func (f *follower) skip(size int64) error {
	buffer := make([]byte, keptBacklog)
	n, err := f.file.ReadAt(buffer, size-keptBacklog)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.kept = wire.WholeLines(buffer[:n])
	f.untold += size - f.offset - int64(len(f.kept))
	if time.Since(f.told) >= heldFor {
		f.tell()
	}
	f.offset = size - keptBacklog + int64(n)
	return nil
}

// tell says what was left out. A process can make its file as long as it likes at no
// cost, thousands of times a second.
func (f *follower) tell() {
	if f.untold > 0 {
		f.lost(f.untold)
		f.untold, f.told = 0, time.Now()
	}
}

// places is a file that tells how far each of the followed files was read, so that a
// later core does not log again what this one has.
type places struct{ file *os.File }

func (p places) load(which int) int64 {
	var b [8]byte
	if _, err := p.file.ReadAt(b[:], int64(which)*8); err != nil {
		return 0
	}
	return max(0, int64(binary.LittleEndian.Uint64(b[:])))
}

func (p places) store(which int) func(int64) {
	last := int64(-1)
	return func(at int64) {
		if at == last {
			return
		}
		last = at
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(at))
		_, _ = p.file.WriteAt(b[:], int64(which)*8) // at worst some lines are logged twice
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
