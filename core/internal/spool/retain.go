package spool

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// retain makes room for need more bytes within MaxBytes and removes what is older
// than MaxAge. committing is held.
func (s *Spool) retain(need int64) {
	s.unlink(s.retireAged())
	total := s.total() + need
	if total > s.lowWater() {
		select {
		case s.crowded <- struct{}{}:
		default:
		}
	}
	if total <= s.highWater() {
		return
	}
	s.thinning.Lock()
	for s.total()+need > s.highWater() && s.makeRoom(s.highWater()-need) {
		continue // the next
	}
	gone := s.retire(need)
	s.thinning.Unlock()
	s.unlink(gone)
}

// unlink removes files that are off the list.
func (s *Spool) unlink(files []*file) {
	for _, f := range files {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("spool cannot remove an old file", "file", f.path, "err", err)
		}
	}
}

// retireAged takes the files off the list of which all records are older than MaxAge: the
// oldest first, never the one being written.
func (s *Spool) retireAged() []*file {
	if s.o.MaxAge <= 0 {
		return nil
	}
	now := s.lived()
	if !s.thinning.TryLock() {
		return nil // there is no hurry
	}
	defer s.thinning.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for ; n < s.removable(); n++ {
		newest := s.newestLived
		if n+1 < len(s.files) {
			newest = s.files[n+1].lived
		}
		if now-newest <= s.o.MaxAge {
			break
		}
	}
	return s.retireFirst(n)
}

// retire takes the oldest files off the list, of whichever driver they are: what is done
// where no room can be made otherwise.
func (s *Spool) retire(need int64) []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := need
	for _, f := range s.files {
		total += f.size
	}
	n := 0
	for ; n < s.removable() && total > s.o.MaxBytes; n++ {
		total -= s.files[n].size
	}
	return s.retireFirst(n)
}

// removable is how many files there are without the one being written; mu is held.
func (s *Spool) removable() int {
	if s.active != nil {
		return len(s.files) - 1
	}
	return len(s.files)
}

// retireFirst takes the first n files off the list; mu is held.
func (s *Spool) retireFirst(n int) []*file {
	if n == 0 {
		return nil
	}
	end := s.last
	if n < len(s.files) {
		end = s.files[n].first
	}
	s.count.retired += uint64(end - s.files[0].first)
	gone := s.files[:n]
	for _, f := range gone {
		if f.sum != nil {
			s.count.retired -= f.sum.retired // was counted when it went
		}
	}
	s.files = slices.Clone(s.files[n:]) // a reader may look at the old list
	return gone
}

// clockSteady is how long the clock has to keep the time of the opening before the time
// that the spool was closed counts.
const clockSteady = time.Hour

// clockWidth is how much a clock may be corrected and is still the same.
const clockWidth = time.Minute

// uptime is how long the spool has run, in this process and before, by a clock that
// nobody can set. What is old is told by it: a wall clock that jumps ahead makes nothing
// old. The time between two processes is only known from the wall clock; it counts once
// that has kept its time for an hour.
type uptime struct {
	before  time.Duration // of earlier processes
	opened  time.Time
	closed  time.Duration // since the last record before, by the wall clock
	stepped bool          // the clock was set within the first hour
}

// now gives the time that has passed.
func (u *uptime) now() time.Duration {
	now := time.Now()
	run := now.Sub(u.opened)
	if run < clockSteady {
		if wall := now.Round(0).Sub(u.opened.Round(0)); (wall - run).Abs() > clockWidth {
			u.stepped = true
		}
		return u.before + run
	}
	if u.closed > 0 {
		if wall := now.Round(0).Sub(u.opened.Round(0)); !u.stepped && (wall-run).Abs() <= clockWidth {
			u.before += u.closed
		}
		u.closed = 0
	}
	return u.before + run
}

// lived is how long the spool has run.
func (s *Spool) lived() time.Duration {
	s.living.Lock()
	defer s.living.Unlock()
	return s.uptime.now()
}
