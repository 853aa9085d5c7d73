// Package supervise keeps one process for each driver kind running, gives it the
// state that the configuration wants, and brings what it sends to the spool.
//
// A Supervisor has a keeper for each kind. A keeper owns at most one Process and
// moves through the states of State:
//
//	starting -> active -> stopping -> stopped
//	   ^  \       |
//	   |   v      v
//	 backing-off <-
//
// A process that dies, or hangs, is replaced after a backoff of 100 ms to 60 s,
// which begins anew after a healthy minute; the whole state is applied again. What
// was lost with the dead process is a gap record in the spool, written with the
// first frame of its successor. A stream that breaks while the process lives is
// attached again, after the last frame that is stored: nothing is lost by that.
package supervise

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// A Process is one running driver process, as package plugin launches it.
type Process interface {
	engine.Control
	PID() int
	Description() engine.Description
	Attach(ctx context.Context, h plugin.Hello, to plugin.Handler) (Attachment, error)
	Done() <-chan struct{}
	Exit() plugin.Exit
	Stop(ctx context.Context) error
}

// An Attachment is the stream of one process's telemetry.
type Attachment interface {
	Ack(sequence uint64)
	Done() <-chan struct{}
	Err() error
	Close() error
}

// A Spool stores frames durably.
type Spool interface {
	Append(r spool.Record, stored func(error))
	Mark(driver string) (epoch, sequence uint64)
}

// Options make a Supervisor. Launch is needed; without a Spool no state may be
// set, which is enough to check a configuration.
type Options struct {
	Log       *slog.Logger // nil: silent
	Launch    func(ctx context.Context, kind string) (Process, error)
	Spool     Spool
	Stored    func(spool.Record) // every frame once it is stored, in order; must not block; may be nil
	CoreEpoch uint64
	LastRun   time.Time // when an earlier gateway stored last; zero: never
}

// A Supervisor keeps driver processes. Its methods may be called concurrently.
type Supervisor struct {
	o    Options
	gaps gapLog

	mu      sync.Mutex
	keepers map[string]*keeper
	leaving map[string]*keeper // stopped ones, which a successor waits for
	closed  bool
}

// New returns a supervisor without processes.
func New(o Options) *Supervisor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Supervisor{o: o, keepers: make(map[string]*keeper), leaving: make(map[string]*keeper)}
	s.gaps = gapLog{spool: o.Spool, epoch: o.CoreEpoch, stored: o.Stored}
	return s
}

// Prepare starts the driver of a kind, if it does not run yet, and returns its
// process for Describe and Validate. It waits for the first start's outcome. The
// process has no state until Set gives it one; Set without it stops it.
func (s *Supervisor) Prepare(ctx context.Context, kind string) (Process, error) {
	k, err := s.keeper(kind)
	if err != nil {
		return nil, err
	}
	return k.await(ctx)
}

// Set makes states the whole of what the drivers do: a driver of a kind that is
// not in it is drained and stopped. It returns at once.
func (s *Supervisor) Set(states map[string]*engine.State) {
	for kind, state := range states {
		if k, err := s.keeper(kind); err == nil {
			k.want(state)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, k := range s.keepers {
		if states[kind] == nil {
			k.stop()
			delete(s.keepers, kind)
			s.leaving[kind] = k
		}
	}
}

// Control returns the control plane of a kind's process, or a NotConnected error
// that says why there is none.
func (s *Supervisor) Control(kind string) (engine.Control, error) {
	s.mu.Lock()
	k := s.keepers[kind]
	s.mu.Unlock()
	if k == nil {
		return nil, driver.Errorf(driver.NotConnected, "driver %s does not run", kind)
	}
	return k.control()
}

// Status tells the state of every driver, by name. It asks all processes at the
// same time; one that does not answer until ctx is done has no Engine.
func (s *Supervisor) Status(ctx context.Context) []Status {
	s.mu.Lock()
	kinds := make([]*keeper, 0, len(s.keepers))
	for _, k := range s.keepers {
		kinds = append(kinds, k)
	}
	s.mu.Unlock()
	slices.SortFunc(kinds, func(a, b *keeper) int { return strings.Compare(a.kind, b.kind) })
	list := make([]Status, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		wg.Go(func() { list[i] = k.status(ctx) })
	}
	wg.Wait()
	return list
}

// Close drains and stops every process, all at the same time, and waits. What was
// drained is stored before it returns. It is safe twice.
func (s *Supervisor) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*keeper
	for _, set := range []map[string]*keeper{s.keepers, s.leaving} {
		for _, k := range set {
			k.stop()
			all = append(all, k)
		}
	}
	s.mu.Unlock()
	for _, k := range all {
		<-k.done
	}
}

// keeper finds or starts the keeper of a kind.
func (s *Supervisor) keeper(kind string) (*keeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keepers[kind]; k != nil {
		return k, nil
	}
	if s.closed {
		return nil, driver.Errorf(driver.NotConnected, "driver %s: the gateway is stopping", kind)
	}
	k := newKeeper(kind, s.o, &s.gaps)
	predecessor := s.leaving[kind]
	delete(s.leaving, kind)
	s.keepers[kind] = k
	go k.run(predecessor)
	return k, nil
}
