package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

// adopting bounds how many processes are adopted at the same time.
const adopting = 8

// unknownLinks is how many links a process is taken to have of which it is not known.
const unknownLinks = 1000

// adoptAll makes members for the processes of an earlier core. Without any, the time
// without a gateway is a loss.
func (p *pool) adoptAll(records []stored) {
	if len(records) == 0 || p.s.o.Adopt == nil {
		if !p.s.begun {
			p.losses.absent(p.s.o.LastRun, "the gateway was not running")
		}
		return
	}
	p.images.recheck = true
	for i := range records {
		m := p.roster.newMember()
		m.index = records[i].Member
		m.record = &records[i]
	}
}

// takeOver adopts the process of a record. It runs in the member's operation.
func (m *member) takeOver(ctx context.Context, r *stored) {
	p := m.pool
	var proc Process
	var status *control.Status
	err := p.s.adoptions.Acquire(ctx, 1)
	if err == nil {
		defer p.s.adoptions.Release(1)
		proc, status, err = p.reattach(ctx, r)
	}
	p.do(func() {
		m.launching, m.taking = nil, false
		if proc == nil {
			m.notAdopted(r, err)
			return
		}
		l := m.begin(proc, nil, false)
		l.version, l.hash, l.detached, l.adopted, l.recorded = r.Version, r.Hash, true, true, r.path
		l.unknown = true
		l.next, m.ran = r.Next, r.Hash
		if p.s.o.Spool != nil {
			l.intake.frames.resume(p.s.o.Spool.MarkOf(p.kind, l.epoch), p.s.o.LastRun)
		}
		m.log().Info("driver process goes on from before the gateway was restarted", "version", r.Version)
		if err != nil {
			l.kill(fmt.Errorf("adopt: %w", err))
			return
		}
		l.claim(status)
	})
}

// reattach finds the process of a record again, and asks it for its links, of which it
// may have thousands. The process is there, with an error, where it does not tell them.
func (p *pool) reattach(ctx context.Context, r *stored) (Process, *control.Status, error) {
	limited, cancel := context.WithTimeout(ctx, adoptLimit)
	defer cancel()
	r.OnLine = p.lines.add
	proc, err := p.s.o.Adopt(limited, r.Record)
	if err != nil {
		return nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, allowance(adoptLimit, p.mayHave()))
	defer cancel()
	status, err := proc.Status(asking)
	return proc, status, err
}

// mayHave is how many links an adopted process is taken to have: as many as are desired,
// where that is known already.
func (p *pool) mayHave() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.demand.desired.State == nil {
		return unknownLinks
	}
	return len(p.demand.desired.State.Links)
}

// notAdopted is the end of a member whose process is not there any more.
func (m *member) notAdopted(r *stored, err error) {
	p := m.pool
	p.losses.absent(p.s.o.LastRun, "its process ended while the gateway was not running")
	p.log.Warn("driver process from before the gateway was restarted is not taken over", "err", err)
	if !errors.Is(err, host.ErrNotTheSame) || errors.Is(err, host.ErrGone) {
		if rmErr := os.Remove(r.path); rmErr != nil {
			p.log.Warn("remove the record of a process that has ended", "err", rmErr)
		}
	}
	m.leaving = true
	m.remove(err.Error())
}

// claim gives the life the links that are open in its process.
func (l *life) claim(s *control.Status) {
	p := l.m.pool
	l.claimed = true
	l.backlog = max(s.Ring.NextSequence, 1) - 1
	for i := range s.Links {
		switch s.Links[i].Condition {
		case control.NotStarted, control.Stopped:
			continue
		}
		p.links.claim(s.Links[i].Name, l)
	}
}
