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
	// ErrLocked means that another process uses the directory.
	ErrLocked = errors.New("spool: locked")
)

// Spool is one open directory. All methods may be called concurrently.
//
// It only joins its parts, each with its own lock. The intake queues a record, the committer
// takes it from there, its appender writes it, and the index makes it known to readers.
// Retention takes files off the index, and damage is looked for beside that. The locks are
// taken in this order: the committer's, retention's, and then one of the others, under which
// no further one is taken.
type Spool struct {
	dir  string
	o    Options
	lock *os.File // of the directory

	intake    *intake
	committer *committer
	index     *index
	retention *retention
	damage    *damage

	stop context.CancelFunc
	wait sync.WaitGroup
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
	hint, err := openEndHint(dir, &o)
	if err != nil {
		_ = lock.Close() // nothing was written
		return nil, err
	}
	s := assemble(dir, o, hint)
	s.lock = lock
	r := recovery{
		dir: dir, o: &s.o, index: s.index, damage: s.damage, retention: s.retention,
		uptime: s.committer.uptime, out: s.committer.out, hint: hint,
	}
	if err := r.run(); err != nil {
		_ = s.closeFiles() // of a hint
		return nil, err
	}
	s.intake.begin(s.index.marks.clone(), s.index.end)
	s.start()
	return s, nil
}

// assemble makes the parts of a spool.
func assemble(dir string, o Options, hint *endHint) *Spool {
	s := &Spool{dir: dir, o: o, intake: newIntake(&o), index: &index{written: map[string]uint64{}}}
	uptime := &uptime{}
	s.damage = &damage{index: s.index, log: o.Log}
	s.retention = &retention{
		dir: dir, o: &s.o, index: s.index, damage: s.damage, uptime: uptime, log: o.Log,
		crowded: make(chan struct{}, 1),
	}
	s.committer = &committer{
		intake: s.intake, index: s.index, uptime: uptime, log: o.Log, closing: make(chan struct{}), hint: hint,
		out: &appender{dir: dir, o: &s.o, index: s.index, retention: s.retention, uptime: uptime},
	}
	return s
}

// start begins the goroutines, which Close ends.
func (s *Spool) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	files := s.index.list()
	sealed := files[:max(0, len(files)-1)]
	s.wait.Go(s.committer.loop)
	s.wait.Go(func() { s.damage.scrub(ctx, sealed) })
	s.wait.Go(func() { s.retention.loop(ctx) })
}

// Append queues a record; its data is copied. stored, which may be nil, runs in
// the order of the calls once the record is synced; it must neither block nor
// append. A record at or below its mark is dropped, and stored(nil) runs when
// the first of its kind is synced. Its error is ErrClosed or ErrTooLarge, nothing
// else: a full disk only takes time.
//
// Append blocks while the queue is full, and while its driver has as much in it as is left
// for others: so there is always room for a driver that has little. A zero Stored becomes the
// present time.
func (s *Spool) Append(r Record, stored func(error)) {
	if r.Stored.IsZero() {
		r.Stored = time.Now()
	}
	s.intake.append(&r, stored)
}

// Commit has the queue stored without waiting for CommitEvery: for a caller that
// knows that nothing follows its last Append soon. On a fast disk it does so
// itself, which saves a wake-up, and returns when all is synced and everyone was
// told; otherwise it returns at once.
func (s *Spool) Commit() { s.committer.commit() }

// Gather is Commit for what nobody waits for: it commits the queue where its oldest
// record has waited for 75 ms, or it is long, or somebody is in Wait. Otherwise a later
// call does, or after 125 ms the committer.
func (s *Spool) Gather() {
	if s.index.awaited() || s.intake.ripe() {
		s.committer.commit()
	}
}

// Later is Commit for a caller that calls it too often: the committer commits the queue,
// within 10 ms.
func (s *Spool) Later() { s.intake.later() }

// Mark gives the epoch of the driver that was stored last, and the highest
// sequence stored of it; zeros when there is none.
func (s *Spool) Mark(driver string) (epoch, sequence uint64) {
	k := s.index.mark(driver)
	return k.epoch, k.sequence
}

// MarkOf gives the highest sequence stored of one epoch of a driver, 0 when there
// is none. The 128 epochs of a driver that were used last are remembered.
func (s *Spool) MarkOf(driver string, epoch uint64) (sequence uint64) {
	return s.index.markOf(driver, epoch)
}

// First gives the position of the oldest record kept, or End when there is none.
func (s *Spool) First() Position {
	first, _ := s.index.bounds()
	return first
}

// End gives the position that the next record stored will have.
func (s *Spool) End() Position {
	_, end := s.index.bounds()
	return end
}

// Wait blocks until the record at p is stored, so Wait(ctx, s.End()) until the
// next one. Its errors are those of ctx, and ErrClosed.
func (s *Spool) Wait(ctx context.Context, p Position) error { return s.index.wait(ctx, p) }

// Read gives a reader whose first record is the one at from; 0 means the oldest.
func (s *Spool) Read(from Position) *Reader {
	if from == 0 {
		from = s.First()
	}
	return &Reader{index: s.index, damage: s.damage, next: from, names: names{}}
}

// Seek gives the position of the first record stored at t or later, or End. It goes by the
// clock of the gateway, which may have been set: no record before that position has such a
// time, but later ones may have earlier times.
func (s *Spool) Seek(t time.Time) Position { return s.index.seek(t) }

// Losses gives the damage found since the spool was opened, oldest first, at most
// the latest 1024. What retention removes is no damage and only counted.
func (s *Spool) Losses() []Loss {
	losses, _ := s.damage.list()
	return losses
}

// Close stores what is queued, or tells each that it is not stored when the disk
// does not take it, and releases the directory. Safe twice.
func (s *Spool) Close() error {
	if !s.intake.close() {
		s.wait.Wait()
		return nil
	}
	s.index.close()
	s.stop()
	close(s.committer.closing)
	s.wait.Wait()
	if err := s.closeFiles(); err != nil {
		return fmt.Errorf("spool: close %s: %w", s.dir, err)
	}
	return nil
}

func (s *Spool) closeFiles() error {
	s.committer.out.close()
	err := s.committer.hint.close()
	_ = s.lock.Close() // it holds nothing
	return err
}
