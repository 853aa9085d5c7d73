package supervise

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// kill ends a process that is of no use any more. What follows comes with its
// death.
func (l *life) kill(cause error) {
	p := l.m.pool
	if l.killed || l.over || p.demand.letsGo() && l.record.detached {
		return // the last is let go as it is, and the next core judges it
	}
	l.killed, l.cause = true, cause
	p.work.Go(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.proc.Stop(now); err != nil {
			p.log.Error("kill a driver process", "err", err)
			p.do(l.ended) // it cannot be waited for
		}
	})
}

// ended is the death of the process.
func (l *life) ended() {
	if l.over {
		return
	}
	m, p := l.m, l.m.pool
	l.finish()
	cause := l.cause
	exit := l.proc.Exit()
	switch {
	case cause == nil:
		cause = fmt.Errorf("driver %s (pid %d): %s", p.driver, l.proc.PID(), exit)
	case !errors.Is(cause, errUpgrade):
		cause = fmt.Errorf("driver %s (pid %d): %w", p.driver, l.proc.PID(), cause)
	}
	m.tail = exit.Stderr
	m.life = nil
	wasActive := l.holds > 0
	l.bury(false, func() {
		switch {
		case (l.stream.attached || l.adopted != nil) && l.holds > 0:
			p.losses.bury(l, cause)
		case l.adopted != nil && !l.adopted.claimed:
			p.losses.absent(p.s.o.LastRun, cause.Error())
		}
	})
	m.fall(cause, true, wasActive)
}

// finish makes the life over: no operation changes anything any more.
func (l *life) finish() {
	l.over = true
	close(l.gone)
}

// bury frees the links of a process that is dead, and waits until nothing is left of it;
// one that is not dead is ended before. To wait first would cost every takeover
// what the kernel takes to close an inotify: 12 ms, and now and then 300. With kill it is not
// asked to end.
func (l *life) bury(kill bool, and func()) {
	p := l.m.pool
	p.dying++
	closeStream := l.stream.stop()
	free := func() {
		and()
		p.links.free(l)
	}
	p.work.Go(func() {
		closeStream()
		dead := isDone(l.proc.Done()) // its files are closed then, and its children killed
		if dead {
			p.do(free)
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if kill {
			cancel()
		}
		if err := l.proc.Stop(ctx); err != nil {
			p.log.Warn("stop a driver process", "err", err)
		}
		l.record.remove(p.log)
		p.do(func() {
			p.dying--
			if !dead {
				free()
			}
		})
	})
}

// retire drains the process, stores what it flushed, and stops it.
func (l *life) retire() {
	m, p := l.m, l.m.pool
	m.enter(Draining, p.demand.stopCause())
	l.retiring, l.busy = true, true
	applied, attached, held := l.given.state != nil || l.adopted != nil, l.stream.attached, l.holds
	p.work.Go(func() {
		var err error
		if applied && !isDone(l.proc.Done()) {
			err = l.drainAll(attached, held)
		}
		p.do(func() {
			if l.over {
				return // it died meanwhile, and is buried
			}
			l.finish()
			if err != nil {
				m.log().Error("driver process is killed: it did not give all that it had before its end", "err", err)
			}
			l.bury(err != nil, func() {
				if err != nil && attached && l.holds > 0 {
					p.losses.bury(l, fmt.Errorf("process %d did not give all that it had before it was stopped: %w", l.proc.PID(), err))
				}
				m.life = nil
				m.remove("")
			})
		})
	})
}

// drainAll finishes everything. It fails where not all has come.
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
	l.m.pool.in.spool.Commit()
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
func (l *life) release() {
	m, p := l.m, l.m.pool
	l.retiring = true
	l.finish()
	m.life = nil
	a := l.stream.attachment
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
