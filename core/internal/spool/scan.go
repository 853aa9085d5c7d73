package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
)

const (
	chunkSize = 256 << 10
	pageSize  = 4 << 10
)

// scanner gives the whole entries of one file in order and steps over everything
// else. It opens the file for each chunk, so there is nothing to close, and a
// file that retention removes meanwhile simply ends.
type scanner struct {
	path    string
	tag     tag
	limit   int64 // bytes that are stored
	size    int64 // bytes that may be read: fewer when the file was cut short meanwhile
	off     int64 // where the next entry is looked for
	skipped int64 // damaged bytes stepped over so far
	reuse   bool  // entries need not outlive the next call
	chunk   int   // bytes read at once
	buf     []byte
	bufAt   int64
}

// next gives the next whole entry; ok is false at the end of the file.
func (sc *scanner) next() (e entry, ok bool) {
	for sc.size-sc.off >= headSize {
		n := entrySize(sc.peek(headSize), sc.tag)
		if n > 0 && int64(n) <= sc.size-sc.off {
			if e, ok = decodeEntry(sc.peek(n), sc.tag); ok {
				e.start, e.end = sc.off, sc.off+int64(n)
				sc.off = e.end
				return e, true
			}
		}
		sc.resync()
	}
	sc.skipped += sc.size - sc.off
	sc.off = sc.size
	return entry{}, false
}

// at gives the bytes of the entry that next gave last.
func (sc *scanner) at(e *entry) []byte { return sc.buf[e.start-sc.bufAt : e.end-sc.bufAt] }

// grow goes on when more is stored than before.
func (sc *scanner) grow(limit int64) bool {
	if limit <= sc.limit {
		return false
	}
	sc.limit, sc.size = limit, limit
	return true
}

// resync moves to the next place at which the file's tag stands, or so near the
// end of the file that no entry fits.
func (sc *scanner) resync() {
	from := sc.off
	for sc.off++; sc.size-sc.off >= headSize; {
		b := sc.window()
		if len(b) < headSize {
			break
		}
		if i := bytes.Index(b, sc.tag[:]); i >= 0 {
			sc.off += int64(i)
			break
		}
		sc.off += int64(len(b) - len(sc.tag) + 1)
	}
	sc.off = min(sc.off, sc.size)
	sc.skipped += sc.off - from
}

// peek gives n bytes from the present offset on, or fewer when the file is
// shorter than it was.
func (sc *scanner) peek(n int) []byte {
	if sc.off < sc.bufAt || sc.off+int64(n) > sc.bufAt+int64(len(sc.buf)) {
		sc.fill(n)
	}
	b := sc.buf[sc.off-sc.bufAt:]
	return b[:min(n, len(b))]
}

// window gives what is in memory from the present offset on, at least a head's
// length unless the file ends before.
func (sc *scanner) window() []byte {
	sc.peek(headSize)
	return sc.buf[sc.off-sc.bufAt:]
}

// fill reads from the present offset on. What a reader got before stays as it is
// unless reuse allows otherwise.
func (sc *scanner) fill(n int) {
	n = int(min(int64(max(n, sc.chunk)), sc.size-sc.off))
	b := sc.buf[:0]
	if !sc.reuse || cap(b) < n {
		b = make([]byte, n)
	}
	sc.bufAt = sc.off
	sc.buf = b[:readTolerant(sc.path, b[:n], sc.off)]
	if len(sc.buf) < n {
		sc.size = sc.off + int64(len(sc.buf))
	}
}

// readTolerant reads len(b) bytes at off and tells how many there are. A part of
// the disk that cannot be read counts as damage: it reads as zeros, so that what
// lies behind it is not lost with it.
func readTolerant(path string, b []byte, off int64) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, err := f.ReadAt(b, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n
	}
	for n = 0; n < len(b); {
		page := b[n:min(len(b), n+pageSize)]
		m, err := f.ReadAt(page, off+int64(n))
		if errors.Is(err, io.EOF) {
			return n + m
		}
		if err != nil {
			clear(page)
		}
		n += len(page)
	}
	return n
}
