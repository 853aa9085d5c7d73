package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

// adopting bounds how many processes are adopted at the same time.
const adopting = 8

// unknownLinks is how many links a process is taken to have of which it is not known.
const unknownLinks = 1000

// launch starts a process, or adopts the one of a record.
func (m *member) launch() {
	p := m.pool
	ctx, cancel := context.WithCancel(p.ctx)
	m.launching = cancel
	adopt, version, image := m.record, p.images.version, m.image
	m.record = nil
	detach := p.detaches()
	m.pid = 0
	spec := LaunchSpec{Driver: p.driver, Member: m.number, Detach: detach, OnLine: p.lines.add}
	if adopt != nil {
		m.taking = true
		m.enter(Starting, fmt.Sprintf("adopting version %s", adopt.Version))
	}
	p.work.Go(func() {
		defer cancel()
		if adopt != nil {
			m.takeOver(ctx, adopt)
			return
		}
		var err error
		if image == nil {
			image, err = p.images.pick(version)
		}
		if err != nil {
			p.do(func() { m.launching = nil; m.failStart(err, false) })
			return
		}
		spec.Image = image
		p.do(func() { m.verified(image) })
		proc, err := p.s.o.Launch(ctx, spec)
		p.do(func() {
			m.launching = nil
			if err != nil {
				m.failStart(err, ranAtAll(err))
				return
			}
			l := m.begin(proc, image, detach)
			if err := m.checkEpoch(l); err != nil {
				l.kill(&offence{err})
			}
		})
	})
}

// verified notes that there is something to launch.
func (m *member) verified(image Image) {
	what := ""
	if image != nil {
		what = fmt.Sprintf("version %s, %.12s", image.Version(), image.Hash())
		m.ran = image.Hash()
		if !m.candidate {
			m.pool.images.use(image)
		}
	}
	if m.state == Verified {
		m.pool.journal.record(m, Verified, what)
	} else {
		m.enter(Verified, what)
	}
	m.enter(Starting, "")
}

// begin is the begin of a life.
func (m *member) begin(proc Process, image Image, detached bool) *life {
	p := m.pool
	l := newLife(m, proc, image)
	l.record.detached = detached
	m.life, m.pid = l, proc.PID()
	m.starts++
	p.work.Go(func() {
		select {
		case <-proc.Done():
			p.do(l.ended)
		case <-l.gone:
		}
	})
	if detached {
		l.writeRecord()
	}
	return l
}

// failStart is a life that did not begin.
func (m *member) failStart(err error, death bool) {
	if !m.leaving || m.candidate {
		m.fall(err, death, false)
	}
}

// ranAtAll reports whether a start failed by the driver's fault. What was not
// there, was not verified, or found the machine short of something, is no death.
func ranAtAll(err error) bool {
	if driver.CodeOf(err) == driver.InvalidConfig || errors.Is(err, context.Canceled) {
		return false
	}
	for _, short := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC} {
		if errors.Is(err, short) {
			return false
		}
	}
	return true
}

// checkEpoch returns why the epoch of a process that was just launched cannot be: frames of
// an epoch that is known would be taken for those that are stored already, acknowledged,
// and thrown away.
func (m *member) checkEpoch(l *life) error {
	p, epoch := m.pool, l.intake.epoch
	if epoch == 0 {
		return fmt.Errorf("its process epoch is 0: a driver draws a random number at every start")
	}
	for _, other := range p.roster.members {
		if other.life != nil && other.life != l && other.life.intake.epoch == epoch {
			return fmt.Errorf("its process epoch %d is that of process %d: a driver draws a random number at every start", epoch, other.life.proc.PID())
		}
	}
	if p.s.o.Spool != nil && p.s.o.Spool.MarkOf(p.driver, epoch) > 0 {
		return fmt.Errorf("its process epoch %d is that of a process before it, of which frames are stored: a driver draws a random number at every start", epoch)
	}
	return nil
}

// takeOver adopts the process of a record. It runs in the member's operation.
func (m *member) takeOver(ctx context.Context, r *stored) {
	p := m.pool
	var proc Process
	var status *control.Status
	err := p.s.adoptions.Acquire(ctx, 1)
	if err == nil {
		defer p.s.adoptions.Release(1)
		proc, status, err = m.reattach(ctx, r)
	}
	p.do(func() {
		m.launching, m.taking = nil, false
		if proc == nil {
			m.notAdopted(r, err)
			return
		}
		l := m.begin(proc, nil, false)
		l.version, l.hash, l.adopted = r.Version, r.Hash, &adoption{next: r.Next}
		l.record.detached, l.record.path = true, r.path
		l.given.unknown = true
		m.ran = r.Hash
		if p.s.o.Spool != nil {
			l.intake.frames.resume(p.s.o.Spool.MarkOf(p.driver, l.intake.epoch), p.s.o.LastRun)
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
func (m *member) reattach(ctx context.Context, r *stored) (Process, *control.Status, error) {
	p := m.pool
	limited, cancel := context.WithTimeout(ctx, adoptLimit)
	defer cancel()
	r.OnLine = p.lines.add
	proc, err := p.s.o.Adopt(limited, r.Record)
	if err != nil {
		return nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, allowance(adoptLimit, m.mayHave()))
	defer cancel()
	status, err := proc.Status(asking)
	return proc, status, err
}

// mayHave is how many links an adopted process is taken to have: as many as are desired,
// where that is known already.
func (m *member) mayHave() int {
	p := m.pool
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
