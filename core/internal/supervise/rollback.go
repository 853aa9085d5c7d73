package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// back is the way back to the old version. What holds the links of a driver that does
// not drain is killed after a while, so that it has an end. A pool that is closed
// meanwhile ends it.
func (u *upgrade) back(cause error) error {
	p := u.pool
	p.do(func() { u.fail(cause) })
	u.tell("", "going back: %v", cause)
	ctx, cancel := context.WithTimeout(p.ctx, readyLimit)
	defer cancel()
	err := p.until(ctx, func() bool { return p.demand.closing || u.hasNoLink() })
	p.do(func() {
		for _, m := range p.roster.members {
			if m.candidate {
				m.dismiss()
			}
		}
		u.end()
	})
	err = errors.Join(err, p.until(ctx, func() bool {
		return !slices.ContainsFunc(p.roster.members, func(m *member) bool { return m.candidate })
	}))
	if err == nil && !p.isClosing() {
		u.tell("", "the version before has all links again")
	}
	return err
}

// hasNoLink reports whether the new version holds no link, and none is on its way. The caller
// holds mu.
func (u *upgrade) hasNoLink() bool {
	for _, ln := range u.pool.links.byName {
		if ln.holder != nil && (ln.holder.m.candidate || ln.holder.busy) {
			return false
		}
	}
	return true
}

// giveUp kills a new process that does not answer: it would not drain either.
func (u *upgrade) giveUp(t *turn, err error) error {
	u.pool.do(func() {
		u.fail(err)
		if l := t.next.life; l != nil && errors.Is(err, context.DeadlineExceeded) {
			l.kill(fmt.Errorf("%w: %w", errUpgrade, err))
		}
	})
	return u.reason(err)
}

// errUpgrade is in the tree of the cause for which a process of a new version was
// killed.
var errUpgrade = errors.New("the upgrade is rolled back")

// wait waits until a condition, which is looked at with the lock held, is met, or
// the upgrade has failed.
func (u *upgrade) wait(ctx context.Context, limit time.Duration, what string, met func() bool) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := u.pool.until(limited, func() bool { return u.failed == nil && met() || u.failed != nil || !u.pool.demand.runs() })
	p := u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case u.failed != nil:
		return u.failed
	case !p.demand.runs():
		return errors.New("the driver is being stopped")
	case ctx.Err() != nil:
		return fmt.Errorf("it was broken off: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("the new version did not %s within %v", what, limit)
	}
	return nil
}
