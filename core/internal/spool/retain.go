package spool

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// retain makes room for need more bytes within MaxBytes and removes what is older
// than MaxAge: whole files, the oldest first, never the one being written.
func (s *Spool) retain(need int64) {
	for _, f := range s.retire(need, time.Now()) {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("spool cannot remove an old file", "file", f.path, "err", err)
		}
	}
}

// retire takes the files that have to go off the list.
func (s *Spool) retire(need int64, now time.Time) []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := need
	for _, f := range s.files {
		total += f.size
	}
	n := 0
	for ; n < len(s.files); n++ {
		if n == len(s.files)-1 && s.active != nil {
			break
		}
		newest, end := s.newest, s.last
		if n+1 < len(s.files) {
			newest, end = s.files[n+1].since, s.files[n+1].first
		}
		aged := s.o.MaxAge > 0 && now.Sub(newest) > s.o.MaxAge
		if total <= s.o.MaxBytes && !aged {
			break
		}
		total -= s.files[n].size
		s.count.retired += uint64(end - s.files[n].first)
	}
	gone := s.files[:n]
	if n > 0 {
		s.files = slices.Clone(s.files[n:]) // a reader may look at the old list
	}
	return gone
}
