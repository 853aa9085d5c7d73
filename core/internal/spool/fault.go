package spool

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Fault is what keeps the spool from storing at present.
type Fault struct {
	Since  time.Time
	Queued int // bytes that wait in memory
	Err    error
}

func (f *Fault) Error() string {
	do := "look at the disk and its log; the gateway tries again by itself"
	if isFull(f.Err) {
		do = "free room on the disk, or lower spool.max; the gateway goes on by itself"
	}
	return fmt.Sprintf("spool: store records: %v (%d bytes wait in memory): %s", f.Err, f.Queued, do)
}

func (f *Fault) Unwrap() error { return f.Err }

// setFault keeps the present trouble for Stats and logs its beginning and end.
func (s *Spool) setFault(err error) {
	s.mu.Lock()
	before := s.fault
	switch {
	case err == nil:
		s.fault = nil
	case before == nil || before.Err.Error() != err.Error():
		s.fault = &Fault{Since: time.Now(), Err: err}
	}
	now, queued := s.fault, s.queued
	s.mu.Unlock()
	switch now {
	case before:
	case nil:
		s.log.Info("spool stores again", "since", before.Since)
	default:
		shown := *now
		shown.Queued = queued
		s.log.Error("spool cannot store", "err", &shown)
	}
}

// isFull tells that there is no room, which a later try may find.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
