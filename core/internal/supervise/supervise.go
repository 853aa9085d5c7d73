package supervise

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A Supervisor keeps driver processes. Its methods may be called concurrently.
type Supervisor struct {
	o         Options
	gaps      gapLog
	events    eventLog
	adoptions *semaphore.Weighted
	shares    shares

	mu     sync.Mutex       // taken before a pool's
	pools  map[string]*pool // also those that have ended
	begun  bool             // Set was called: what comes to be wanted now was not before
	closed bool
}

// New returns a supervisor. It adopts the processes of which Options.Records has
// records, and has none beside them until Prepare or Set asks for some.
func New(o Options) *Supervisor {
	s := &Supervisor{o: o.withDefaults(), pools: make(map[string]*pool)}
	s.gaps = gapLog{spool: o.Spool, epoch: o.CoreEpoch}
	s.adoptions = semaphore.NewWeighted(adopting)
	s.events.grown = make(chan struct{})
	s.events.last = o.CoreEpoch << 32 // so that nobody who follows takes a later gateway's for those that he has
	adopted := readRecords(s.o.Records, s.o.Log)
	for driverName, records := range adopted {
		s.pools[driverName] = newPool(s, driverName, records, nil)
	}
	return s
}

// Prepare starts a driver, if it does not run yet, and returns one of
// its processes for Describe and Validate. It waits for the first start's outcome. The
// process has no state until Set gives it one; Set without it stops it. A driver in
// quarantine is tried once more: the configuration that is to be checked may be the remedy.
func (s *Supervisor) Prepare(ctx context.Context, driverName string) (Process, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, driver.Errorf(driver.NotConnected, "driver %s: the gateway is stopping", driverName)
	}
	p := s.with(driverName, (*pool).prepare)
	s.mu.Unlock()
	return p.await(ctx)
}

// Set makes desired the whole of what the drivers do: a driver that is
// not in it is drained and stopped. It returns at once.
func (s *Supervisor) Set(desired map[string]Desired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for driverName, d := range desired {
		s.with(driverName, func(p *pool) { p.want(d) })
	}
	for driverName, p := range s.pools {
		if _, ok := desired[driverName]; !ok {
			p.do(p.leave)
		}
	}
	s.begun = true
}

// Control returns the control plane of the process that has a link, or a
// NotConnected error that says why there is none. Without a link it is that of any
// process of the driver.
func (s *Supervisor) Control(driverName, link string) (control.Plane, error) {
	p := s.find(driverName)
	if p == nil {
		return nil, driver.Errorf(driver.NotConnected, "%w: driver %s does not run", driver.ErrNotSent, driverName)
	}
	return p.control(link)
}

// Enable lifts the quarantine of a driver's processes and forgives every death
// before: a process that backs off starts at once.
func (s *Supervisor) Enable(driverName string) error {
	p := s.find(driverName)
	if p == nil {
		return driver.Errorf(driver.NotFound, "driver %s does not run: no link uses it", driverName)
	}
	p.do(func() { p.roster.forgive("enabled by the operator") })
	return nil
}

// Refresh looks whether the images of the drivers have changed: a process that
// waits because of its image is started, one whose image is gone is stopped. It
// returns at once.
func (s *Supervisor) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		p.do(p.refresh)
	}
}

// Status tells the state of every driver, by name. It asks all processes at the
// same time; one that does not answer until ctx is done has no part in Engine.
func (s *Supervisor) Status(ctx context.Context) []Status {
	s.mu.Lock()
	var pools []*pool
	for _, p := range s.pools {
		if p.isWanted() {
			pools = append(pools, p)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(pools, func(a, b *pool) int { return strings.Compare(a.driver, b.driver) })
	list := make([]Status, len(pools))
	var wg sync.WaitGroup
	for i, p := range pools {
		wg.Go(func() { list[i] = p.status(ctx) })
	}
	wg.Wait()
	return list
}

// Kill kills a process of a driver for a reason, which is the cause of its death; it counts
// as any other.
func (s *Supervisor) Kill(driverName string, pid int, cause error) {
	p := s.find(driverName)
	if p == nil {
		return
	}
	p.do(func() {
		for _, m := range p.roster.members {
			if m.life != nil && m.life.proc.PID() == pid {
				m.life.kill(cause)
			}
		}
	})
}

// Runs returns the processes of a driver that live. It asks none of them.
func (s *Supervisor) Runs(driverName string) (list []Run) {
	p := s.find(driverName)
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.roster.members {
		if l := m.life; l != nil && !l.over {
			list = append(list, Run{l.version, l.hash, l.holds})
		}
	}
	return list
}

// Events returns what has happened after the event with the number since, oldest
// first, and a channel that is closed once there is more. Only the latest events are
// kept: a number that was left out is gone.
func (s *Supervisor) Events(since uint64) (list []Event, more <-chan struct{}) {
	return s.events.after(since)
}

// Close drains and stops every process, all at the same time, and waits. What was
// drained is stored before it returns. With keepDetached, processes that are
// detached are let go instead, and go on. It is safe twice.
func (s *Supervisor) Close(keepDetached bool) {
	s.BeginClose(keepDetached)
	for _, p := range s.all() {
		<-p.done
	}
}

// BeginClose begins what Close waits for: nothing is started any more, and an upgrade in hand
// ends where it is.
func (s *Supervisor) BeginClose(keepDetached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.pools {
		p.do(func() { p.close(keepDetached) })
	}
}

func (s *Supervisor) all() []*pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pools))
}

func (s *Supervisor) find(driverName string) *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[driverName]
}

// with calls f for the pool of a driver, which it makes where there is none. The caller
// holds mu.
func (s *Supervisor) with(driverName string, f func(p *pool)) *pool {
	p := s.pools[driverName]
	for p == nil || !p.do(func() { f(p) }) {
		p = newPool(s, driverName, nil, p) // the one before has ended
		s.pools[driverName] = p
	}
	return p
}
