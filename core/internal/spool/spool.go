package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options configure a spool. The zero value works.
type Options struct {
	MaxBytes    int64         // of all files together; default 2 GiB
	MaxAge      time.Duration // of a record; 0 keeps by MaxBytes alone
	FileBytes   int64         // of one file; default 64 MiB, at most a sixteenth of MaxBytes
	Names       NamesID       // whose names the data of the records refers to
	QueueBytes  int           // what may wait to be stored; default 4 MiB
	CommitEvery time.Duration // how long the first record of a group waits for others or for Commit; default 5 ms; negative: for Commit or Gather alone
	Log         *slog.Logger

	inject func(op string) error // tests only: fails create, write, sync or end
}

const (
	defaultMaxBytes    = 2 << 30
	defaultFileBytes   = 64 << 20
	defaultQueueBytes  = 4 << 20
	defaultCommitEvery = 5 * time.Millisecond
)

func (o Options) defaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.FileBytes <= 0 {
		o.FileBytes = defaultFileBytes
	}
	o.FileBytes = min(o.FileBytes, max(o.MaxBytes/16, 1))
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueueBytes
	}
	if o.CommitEvery == 0 {
		o.CommitEvery = defaultCommitEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.inject == nil {
		o.inject = func(string) error { return nil }
	}
	return o
}

var (
	// ErrClosed is what stored gets for a record that the spool did not store
	// before it was closed.
	ErrClosed = errors.New("spool: closed")
	// ErrLocked tells that another process uses the directory.
	ErrLocked = errors.New("spool: locked")
)

// Spool is one open directory. All methods may be called concurrently.
type Spool struct {
	dir  string
	o    Options
	log  *slog.Logger
	lock *os.File

	full    chan struct{} // the queue is to be committed before its time
	closing chan struct{}
	stop    context.CancelFunc
	wait    sync.WaitGroup
	timer   *time.Timer

	crowded  chan struct{} // room is to be made before it is needed
	thinning sync.Mutex    // held by whoever takes files off the list or rewrites them; taken after committing and before mu
	living   sync.Mutex
	uptime   uptime

	committing sync.Mutex // held by whoever commits; taken before mu, and guards:
	group      queue      // what was taken off the queue last; its buffers
	rest       queue      // what of it is not stored yet
	slow       bool       // the last sync took long
	refused    bool       // a close ended a group early
	active     *os.File   // the last file, when more may be appended to it
	end        *os.File
	endFailed  bool // the last write to end failed
	endWritten bool // something was written to end

	mu       sync.Mutex
	room     sync.Cond // the queue has shrunk, or the spool is closed
	closed   bool
	queue    queue
	oldest   time.Time // when the first of queue came
	armed    bool      // timer runs
	queued   int       // bytes in queue and in the group being committed
	queuedBy map[string]int
	accepted marks
	next     Position // of the next record appended

	stored      marks
	files       []*file
	last        Position // one behind the last stored record
	newest      time.Time
	newestLived time.Duration // when that was stored, by lived
	grown       chan struct{} // closed when last grows; nil while nobody waits
	losses      []Loss
	count       counters
	fault       *Fault
}

// Open opens the directory, makes it when there is none, and takes it for this
// process. A file cut short or damaged is no error: see Losses. Close releases
// it.
func Open(dir string, o Options) (*Spool, error) {
	o = o.defaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: make %s: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		dir: dir, o: o, log: o.Log, lock: lock,
		full:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		crowded: make(chan struct{}, 1),
		timer:   time.NewTimer(time.Hour),

		queuedBy: make(map[string]int),
	}
	s.count.written = map[string]uint64{}
	s.timer.Stop()
	s.room.L = &s.mu
	if err := s.recover(); err != nil {
		s.closeFiles()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	sealed := s.files[:max(0, len(s.files)-1)]
	s.wait.Go(s.commitLoop)
	s.wait.Go(func() { s.scrub(ctx, sealed) })
	s.wait.Go(func() { s.thinLoop(ctx) })
	return s, nil
}

// Append queues a record; its data is copied. stored, which may be nil, runs in
// the order of the calls once the record is synced; it must neither block nor
// append. A record at or below its mark is dropped, and stored(nil) runs when
// the first of its kind is synced. Its error is ErrClosed or ErrTooLarge, nothing
// else: a full disk only takes time.
//
// Append blocks while the queue is full, and while its driver has as much in it as is left
// for others: so there is always room for a driver that has little. A zero Stored becomes the present time.
func (s *Spool) Append(r Record, stored func(error)) {
	if r.Stored.IsZero() {
		r.Stored = time.Now()
	}
	err := r.check()
	need := itemCost + headSize + len(r.Driver) + len(r.Data)
	s.mu.Lock()
	for !s.closed && (s.queued > 0 && s.queued+need > s.o.QueueBytes || s.hasShare(r.Driver, need)) {
		s.hurry() // whoever waits here may be the one that would commit
		s.room.Wait()
	}
	if s.closed {
		s.mu.Unlock()
		call(stored, ErrClosed)
		return
	}
	defer s.mu.Unlock()
	if len(s.queue.items) == 0 {
		s.oldest = time.Now()
		if s.o.CommitEvery > 0 {
			s.arm(s.o.CommitEvery)
		}
	}
	switch {
	case err != nil:
		s.queue.note(stored, err)
	case s.accepted.has(r.Driver, r.Epoch, r.Sequence):
		s.count.duplicates++
		s.queue.note(stored, nil)
	default:
		s.accepted.raise(r.Driver, r.Epoch, r.Sequence)
		s.queue.add(s.next, &r, stored)
		s.queuedBy[r.Driver] += s.queue.items[len(s.queue.items)-1].size
		s.next++
		s.queued += need - itemCost
	}
	s.queued += itemCost
	if len(s.queue.buf) >= s.o.QueueBytes/4 || len(s.queue.items) >= maxItems {
		s.hurry()
	}
}

// hasShare reports whether a driver has to wait because others could not queue as much as it
// has. What the gateway writes itself never waits for that. The caller holds mu.
func (s *Spool) hasShare(driver string, need int) bool {
	has := s.queuedBy[driver]
	return driver != "" && has > 0 && has+need > s.o.QueueBytes-s.queued
}

// Mark gives the epoch of the driver that was stored last, and the highest
// sequence stored of it; zeros when there is none.
func (s *Spool) Mark(driver string) (epoch, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.stored.last(driver)
	return k.epoch, k.sequence
}

// MarkOf gives the highest sequence stored of one epoch of a driver, 0 when there
// is none. The 128 epochs of a driver that were used last are remembered.
func (s *Spool) MarkOf(driver string, epoch uint64) (sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence, _ = s.stored.sequence(driver, epoch)
	return sequence
}

// First gives the position of the oldest record kept, or End when there is none.
func (s *Spool) First() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first()
}

func (s *Spool) first() Position {
	if len(s.files) == 0 {
		return s.last
	}
	return s.files[0].first
}

// End gives the position that the next record stored will have.
func (s *Spool) End() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Wait blocks until the record at p is stored, so Wait(ctx, s.End()) until the
// next one. Its errors are those of ctx, and ErrClosed.
func (s *Spool) Wait(ctx context.Context, p Position) error {
	for {
		s.mu.Lock()
		if p < s.last {
			s.mu.Unlock()
			return nil
		}
		if s.closed {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.grown == nil {
			s.grown = make(chan struct{})
		}
		grown := s.grown
		s.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake tells those who wait in Wait to look again; mu is held.
func (s *Spool) wake() {
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
}

// Close stores what is queued, or tells each that it is not stored when the disk
// does not take it, and releases the directory. Safe twice.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.wait.Wait()
		return nil
	}
	s.closed = true
	s.room.Broadcast()
	s.wake()
	s.mu.Unlock()
	s.stop()
	close(s.closing)
	s.wait.Wait()
	var err error
	if s.endWritten {
		err = s.end.Sync()
	}
	s.closeFiles()
	if err != nil {
		return fmt.Errorf("spool: close %s: %w", s.dir, err)
	}
	return nil
}

func (s *Spool) closeFiles() {
	for _, f := range []*os.File{s.active, s.end, s.lock} {
		if f != nil {
			_ = f.Close() // everything was synced, or its failure told, before
		}
	}
}
