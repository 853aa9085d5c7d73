package plugin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

const (
	// emptyAfter is how many bytes were read of a file that is emptied at its end.
	emptyAfter = 64 << 10
	// maxBacklog is what a file may hold that was not read yet. Beyond it all but
	// keptBacklog is left out: a file, unlike a pipe, does not slow down who floods it.
	maxBacklog  = 4 << 20
	keptBacklog = 256 << 10
)

// follower reads a file that a process appends to as if it were a pipe, and empties
// it. What the process writes in the microsecond between the last look and the
// emptying is lost; that can happen once in 64 KiB.
type follower struct {
	file   *os.File
	wake   chan struct{}
	ended  <-chan struct{}   // the process is dead: what is there is all there will be
	quit   <-chan struct{}   // nothing more is to be read
	note   func(int64)       // keeps the place for a later follower; called by Read
	lost   func(bytes int64) // hears what was left out; called by Read
	offset int64
	kept   []byte // of a backlog
}

var _ io.Reader = (*follower)(nil)

// Read blocks until there is something, and answers io.EOF at the end of the
// process, or of the following.
func (f *follower) Read(p []byte) (int, error) {
	for {
		if len(f.kept) > 0 {
			n := copy(p, f.kept)
			f.kept = f.kept[n:]
			return n, nil
		}
		f.note(f.offset)
		if isClosed(f.quit) {
			return 0, io.EOF
		}
		ended := isClosed(f.ended) // before the look, which then sees all
		n, err := f.look(p)
		if n > 0 || err != nil {
			return n, err
		}
		if len(f.kept) > 0 {
			continue
		}
		if ended {
			return 0, io.EOF
		}
		select {
		case <-f.wake:
		case <-f.ended:
		case <-f.quit:
		}
	}
}

// look reads what is there, or empties the file.
func (f *follower) look(p []byte) (int, error) {
	size, err := f.size()
	if err != nil {
		return 0, err
	}
	if size < f.offset { // the process has shortened it, while no core was there
		f.offset = 0
	}
	if size-f.offset > maxBacklog {
		return 0, f.skip(size)
	}
	n, err := f.file.ReadAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 {
		return n, nil // without io.EOF, which would be the end
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if f.offset < emptyAfter {
		return 0, nil
	}
	return 0, f.empty()
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
	began, at := f.offset, max(f.offset, size-keptBacklog)
	buffer := make([]byte, 2*keptBacklog)
	n := 0
	for n < len(buffer) { // the file is emptied when it does not grow, or grows too fast
		more, err := f.file.ReadAt(buffer[n:], at+int64(n))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n += more; more == 0 {
			break
		}
	}
	f.offset = 0
	f.kept = wholeLines(buffer[:n])
	f.lost(at + int64(n-len(f.kept)) - began)
	return f.file.Truncate(0)
}

// wholeLines is b without the rest of a line at its beginning.
func wholeLines(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[i+1:]
	}
	return b
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
