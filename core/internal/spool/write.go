package spool

import (
	"os"
	"slices"
	"time"
)

// create begins a new file with the marks of everything before it.
func (s *Spool) create(rest *queue) error {
	i := 0
	for rest.items[i].size == 0 {
		i++
	}
	f := newFile(s.dir, rest.items[i].position, 0, rest.items[i].time)
	f.names, f.lived, f.sum = s.o.Names, s.lived(), &summary{}
	head := s.head(f)
	s.retain(int64(len(head) + rest.items[i].size))
	if err := s.o.inject("create"); err != nil {
		return err
	}
	h, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := s.begin(h, head); err != nil {
		_ = h.Close()
		_ = os.Remove(f.path) // nothing was stored in it
		return err
	}
	f.size = int64(len(head))
	s.active = h
	s.mu.Lock()
	s.files = append(s.files, f)
	s.mu.Unlock()
	return nil
}

// head encodes the marks, and what is known of the file before.
func (s *Spool) head(f *file) []byte {
	a := about{names: f.names, lived: f.lived}
	s.mu.Lock()
	if before := s.tailLocked(); before != nil && before.sum != nil {
		a.of, a.sum = before.tag, before.sum.clone()
	}
	s.mu.Unlock()
	marks := appendEntry(nil, kindMarks, f.first, &Record{Stored: f.since, Data: s.stored.encode()})
	seal(marks, f.tag, 0)
	more := appendEntry(nil, kindAbout, f.first, &Record{Stored: f.since, Data: a.encode()})
	seal(more, f.tag, 0)
	return append(marks, more...)
}

func (s *Spool) begin(h *os.File, head []byte) error {
	if _, err := h.WriteAt(head, 0); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// write puts the first n items behind what is stored and syncs them. Whatever
// fails, the stored part of the file stays as it was. On a full disk a new try
// writes the same bytes to the same place; after any other failure the file is
// left for good, for a failed sync may have made the kernel forget what it did
// not write.
func (s *Spool) write(rest *queue, n, size int) error {
	s.retain(int64(size))
	f := s.tail()
	index := 0
	for at, i := 0, 0; i < n; i++ {
		if b := rest.buf[at : at+rest.items[i].size]; len(b) > 0 {
			seal(b, f.tag, index)
			index++
			at += len(b)
		}
	}
	err := s.o.inject("write")
	if err == nil {
		_, err = s.active.WriteAt(rest.buf[:size], f.size)
	}
	if isFull(err) {
		return err
	}
	if err == nil {
		err = s.o.inject("sync")
	}
	if err == nil {
		began := time.Now()
		err = dataSync(s.active)
		s.slow = time.Since(began) > slowSync
	}
	if err != nil {
		s.abandon(f)
	}
	return err
}

// abandon leaves the active file after a failure, without what was not
// acknowledged; an empty one goes.
func (s *Spool) abandon(f *file) {
	_ = s.active.Truncate(f.size) // recovery drops it too
	s.finish()
	if f.first < s.last {
		return
	}
	s.mu.Lock()
	s.files = slices.Clone(s.files[:len(s.files)-1])
	s.mu.Unlock()
	_ = os.Remove(f.path) // nothing in it was acknowledged
}
