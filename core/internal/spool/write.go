package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// slowSync is the time of a sync from which on Commit leaves the next to the
// committer, so that its caller can gather meanwhile.
const slowSync = 2 * time.Millisecond

// appender writes groups into the last file of the log and begins the next one. It is part
// of the committer: its lock guards it.
type appender struct {
	dir       string
	o         *Options
	index     *index
	retention *retention
	uptime    *uptime

	file   *file    // the last file, when more may be appended to it
	handle *os.File // of file; nil where there is none
	slow   bool     // the last sync took long
}

// store puts as many items as fit into the present file, or into a new one, and syncs them.
// It gives how many, and their bytes. A file begins only when everything before it is
// synced: that it exists proves that those before it are whole.
func (a *appender) store(q *queue) (n, size int, err error) {
	n, size = a.fit(q)
	if size == 0 {
		return n, 0, nil
	}
	if a.handle == nil {
		if err := a.create(q); err != nil {
			return 0, 0, err
		}
		n, size = a.fit(q)
	}
	return n, size, a.write(q, n, size)
}

// fit tells how many items, and bytes, of the group go into one file. When not
// even the first does, the present file is finished.
func (a *appender) fit(q *queue) (n, size int) {
	for range 2 {
		room := a.o.FileBytes
		if a.handle != nil {
			room -= a.file.size
		}
		fresh := a.handle == nil || a.empty()
		for n, size = 0, 0; n < len(q.items); n++ {
			next := size + q.items[n].size
			if int64(next) > room && (size > 0 || !fresh) && q.items[n].size > 0 {
				break
			}
			size = next
		}
		if n > 0 {
			break
		}
		a.finish()
	}
	return n, size
}

// empty reports whether no record is in the present file yet.
func (a *appender) empty() bool {
	_, end := a.index.bounds()
	return a.file.first == end
}

// finish leaves the present file, which is synced.
func (a *appender) finish() {
	_ = a.handle.Close() // it is synced
	a.file, a.handle = nil, nil
}

// create begins a new file with the marks of everything before it.
func (a *appender) create(q *queue) error {
	i := 0
	for q.items[i].size == 0 {
		i++
	}
	f := newFile(a.dir, q.items[i].position, 0, q.items[i].time)
	f.names, f.lived, f.sum = a.o.Names, a.uptime.now(), &summary{}
	head := a.head(f)
	a.retention.reserve(int64(len(head)+q.items[i].size), 0)
	if err := a.o.inject("create"); err != nil {
		return err
	}
	h, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := a.begin(h, head); err != nil {
		_ = h.Close()
		_ = os.Remove(f.path) // nothing was stored in it
		return err
	}
	f.size = int64(len(head))
	a.file, a.handle = f, h
	a.index.add(f)
	return nil
}

// head encodes the marks, and what is known of the file before.
func (a *appender) head(f *file) []byte {
	about := about{names: f.names, lived: f.lived}
	var encoded []byte
	encoded, about.of, about.sum = a.index.before()
	marks := appendEntry(nil, kindMarks, f.first, &Record{Stored: f.since, Data: encoded})
	seal(marks, f.tag, 0)
	more := appendEntry(nil, kindAbout, f.first, &Record{Stored: f.since, Data: about.encode()})
	seal(more, f.tag, 0)
	return append(marks, more...)
}

func (a *appender) begin(h *os.File, head []byte) error {
	if _, err := h.WriteAt(head, 0); err != nil {
		return err
	}
	return durable.SyncDir(a.dir)
}

// write puts the first n items behind what is stored and syncs them. Whatever
// fails, the stored part of the file stays as it was. On a full disk a new try
// writes the same bytes to the same place; after any other failure the file is
// left for good, for a failed sync may have made the kernel forget what it did
// not write.
func (a *appender) write(q *queue, n, size int) error {
	a.retention.reserve(int64(size), 1)
	index := 0
	for at, i := 0, 0; i < n; i++ {
		if b := q.buf[at : at+q.items[i].size]; len(b) > 0 {
			seal(b, a.file.tag, index)
			index++
			at += len(b)
		}
	}
	err := a.o.inject("write")
	if err == nil {
		_, err = a.handle.WriteAt(q.buf[:size], a.file.size)
	}
	if isFull(err) {
		return err
	}
	if err == nil {
		err = a.o.inject("sync")
	}
	if err == nil {
		began := time.Now()
		err = dataSync(a.handle)
		a.slow = time.Since(began) > slowSync
	}
	if err != nil {
		a.abandon()
	}
	return err
}

// abandon leaves the present file after a failure, without what was not
// acknowledged; an empty one goes.
func (a *appender) abandon() {
	f, empty := a.file, a.empty()
	_ = a.handle.Truncate(f.size) // recovery drops it too
	a.finish()
	if empty {
		a.index.removeLast()
		_ = os.Remove(f.path) // nothing in it was acknowledged
	}
}

// close closes the present file. Everything was synced, or its failure told, before.
func (a *appender) close() {
	if a.handle != nil {
		a.finish()
	}
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

// endHint is the file "end", open. The committer's lock guards it.
type endHint struct {
	f       *os.File
	inject  func(op string) error
	log     *slog.Logger
	failed  bool // the last write failed
	written bool // something was written
}

func openEndHint(dir string, o *Options) (*endHint, error) {
	path := filepath.Join(dir, "end")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: open %s: %w", path, err)
	}
	return &endHint{f: f, inject: o.inject, log: o.Log}, nil
}

// read gives 0 when the file says nothing.
func (h *endHint) read() (p Position, lived time.Duration) {
	var b [endSize + livedSize]byte
	n, _ := h.f.ReadAt(b[:], 0)
	if n >= endSize && [8]byte(b[:8]) == endMagic && binary.LittleEndian.Uint32(b[16:]) == crc32.Checksum(b[:16], castagnoli) {
		p = Position(binary.LittleEndian.Uint64(b[8:]))
	}
	if v := b[endSize:]; n == len(b) && binary.LittleEndian.Uint32(v[8:]) == crc32.Checksum(v[:8], castagnoli) {
		lived = time.Duration(max(0, int64(binary.LittleEndian.Uint64(v))))
	}
	return p, lived
}

func (h *endHint) write(p Position, lived time.Duration) {
	b := make([]byte, 0, endSize+livedSize)
	b = append(b, endMagic[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = binary.LittleEndian.AppendUint64(b, uint64(lived))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[endSize:], castagnoli))
	err := h.inject("end")
	if err == nil {
		_, err = h.f.WriteAt(b, 0)
	}
	if err != nil && !h.failed {
		h.log.Warn("spool cannot note its end; a tail cut off by a foreign hand may stay unnoticed", "err", err)
	}
	h.failed, h.written = err != nil, true
}

// close syncs what was written.
func (h *endHint) close() (err error) {
	if h.written {
		err = h.f.Sync()
	}
	_ = h.f.Close() // it is synced, and a hint
	return err
}
