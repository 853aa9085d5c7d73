package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// trouble keeps what prevents storing at present.
type trouble struct {
	mu    sync.Mutex // guards fault, which is replaced and never changed in place
	fault *Fault
}

// set notes how the last try went, and logs where trouble begins and ends.
func (t *trouble) set(err error, queued int, log *slog.Logger) {
	t.mu.Lock()
	before := t.fault
	switch {
	case err == nil:
		t.fault = nil
	case before == nil || before.Err.Error() != err.Error():
		t.fault = &Fault{Since: time.Now(), Err: err}
	}
	now := t.fault
	t.mu.Unlock()
	switch now {
	case before:
	case nil:
		log.Info("spool stores again", "since", before.Since)
	default:
		log.Error("spool cannot store", "err", now.with(queued))
	}
}

// present gives a *Fault with the bytes that wait, or nil.
func (t *trouble) present(queued int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == nil {
		return nil
	}
	return t.fault.with(queued)
}

func (f *Fault) with(queued int) *Fault {
	shown := *f
	shown.Queued = queued
	return &shown
}

// isFull reports whether there is no room, which a later try may find.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
