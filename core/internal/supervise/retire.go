package supervise

import (
	"context"
	"fmt"
	"time"
)

// retire drains a member's process, stores what it flushed, and stops it.
func (m *member) retire() {
	p, l := m.pool, m.life
	m.enter(Draining, p.demand.stopCause())
	l.retiring, l.busy = true, true
	applied, attached, held := l.applied != nil || l.adopted, l.attached, l.held()
	p.work.Go(func() {
		var err error
		if applied && !isDone(l.proc.Done()) {
			err = l.drainAll(attached, held)
		}
		p.do(func() {
			if l.over {
				return // it died meanwhile, and is buried
			}
			l.over = true
			close(l.gone)
			if err != nil {
				l.m.log().Error("driver process is killed: it did not give all that it had before its end", "err", err)
			}
			p.bury(l, err != nil, func() {
				if err != nil && attached && l.held() > 0 {
					p.losses.bury(l, fmt.Errorf("process %d did not give all that it had before it was stopped: %w", l.proc.PID(), err))
				}
				m.life = nil
				m.remove("")
			})
		})
	})
}

// drainAll finishes everything. Its error tells that not all has come.
func (l *life) drainAll(attached bool, held int) error {
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	call, cancelCall := context.WithTimeout(ctx, allowance(drainLimit, held))
	defer cancelCall()
	drained, err := l.proc.Drain(call, nil)
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	if !attached {
		return nil
	}
	err = l.await(ctx, drainLimit, drained.LastSequence, l.intake.frames.takenUpTo)
	l.m.pool.s.o.Spool.Commit()
	if err != nil {
		return err
	}
	return l.await(ctx, drainLimit, drained.LastSequence, l.intake.frames.storedUpTo)
}

// await waits until the frames of the process have been taken in, or stored, up to a sequence.
func (l *life) await(ctx context.Context, patience time.Duration, sequence uint64, reached func() uint64) error {
	w := waiting{patience: patience, most: giveLimit, blocked: l.intake.vitals.blocked}
	return l.intake.frames.await(ctx, l.proc.Done(), w, sequence, reached)
}

// release lets go of a detached process: it goes on, and the next core adopts it.
func (m *member) release() {
	p, l := m.pool, m.life
	l.over, l.retiring = true, true
	close(l.gone)
	m.life = nil
	a := l.attachment
	p.dying++
	p.work.Go(func() {
		if a != nil {
			_ = a.Close() // it tells the process the last ack, or not
		}
		if err := l.proc.Release(); err != nil {
			p.log.Warn("let go of a driver process", "pid", l.proc.PID(), "err", err)
		}
		p.do(func() { p.dying-- })
	})
	m.remove(fmt.Sprintf("process %d goes on without the gateway", l.proc.PID()))
}
