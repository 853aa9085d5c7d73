package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	defaultProbation = time.Minute
	// readyLimit is how long a new version may take until it is warm, and
	// switchLimit until it has the links of one member.
	readyLimit  = time.Minute
	switchLimit = 5 * time.Minute
	healthLimit = 5 * time.Second // for one answer of a new version, with more for each link
)

// A Step is one step of an upgrade.
type Step struct {
	At         time.Time
	Text       string
	Link       string // that changed hands; empty: none
	Done       int    // links that are with the new version
	Total      int
	RolledBack bool // the way back
}

// UpgradeStatus is an upgrade in hand.
type UpgradeStatus struct {
	Version string
	Since   time.Time
	Text    string // of the latest step
	Done    int
	Total   int
}

// upgrade puts the processes of a new version in the place of the old ones, which stay
// warm until the new ones have proved themselves.
type upgrade struct {
	UpgradeStatus // guarded by the pool's mu, as is failed
	pool          *pool
	step          func(Step)
	image         Image
	turns         []*turn
	failed        error         // the first reason to go back
	listeners     []func(Step)  // who hear of every step besides; guarded too
	done          chan struct{} // closed when it has ended
}

// turn is the upgrade of one shard.
type turn struct {
	shard     *shard
	old, next *member
	renews    bool   // both execute the same, with other rights
	before    health // of old's links
	mute      int    // how often next did not tell its status, in a row
}

// Upgrade puts a version in the place of the one that runs: member by member, and
// link by link. It waits until the new version has been well for the probation
// time. If it does not get so far, or ctx ends, the old version has all links
// back, and the error says why. Processes of the same executable, which get other
// rights, need no probation. step, which may be nil, hears of every step. While
// one upgrade of a driver runs, another is refused.
func (s *Supervisor) Upgrade(ctx context.Context, driverName, version string, step func(Step)) error {
	p := s.find(driverName)
	if p == nil {
		return driver.Errorf(driver.NotFound, "driver %s does not run: no link uses it", driverName)
	}
	if step == nil {
		step = func(Step) {}
	}
	if err := newUpgrade(p, version, step).run(ctx); err != nil {
		return fmt.Errorf("upgrade driver %s to version %s: %w", driverName, version, err)
	}
	return nil
}

func newUpgrade(p *pool, version string, step func(Step)) *upgrade {
	return &upgrade{pool: p, step: step, UpgradeStatus: UpgradeStatus{Version: version, Since: time.Now()}, done: make(chan struct{})}
}

// run goes to the new version, or back to the one before.
func (u *upgrade) run(ctx context.Context) error {
	p := u.pool
	if p.images.find == nil {
		return driver.Errorf(driver.Unsupported, "there are no versions to choose from")
	}
	if err := u.begin(); err != nil {
		return err
	}
	defer p.work.Done()
	defer close(u.done)
	defer p.do(u.end)
	err := u.forward(ctx)
	if err == nil {
		return nil
	}
	if len(u.turns) == 0 || p.isClosing() {
		return err // there is nothing to go back to: the processes are stopped, or let go as they are
	}
	backErr := u.back(err)
	switch {
	case backErr != nil:
		return fmt.Errorf("%w; and the way back is not finished: %w", err, backErr)
	case p.isClosing():
		return err
	}
	return fmt.Errorf("%w; everything is as before", err)
}

// begin takes the pool for this upgrade.
func (u *upgrade) begin() (err error) {
	p := u.pool
	if !p.do(func() {
		switch {
		case p.upgrade != nil:
			err = driver.Errorf(driver.Busy, "an upgrade to version %s is in hand: wait for its end, or go back with `fieldloom driver rollback %s`", p.upgrade.Version, p.driver)
		case !p.demand.runs() || p.demand.desired.State == nil:
			err = driver.Errorf(driver.NotConnected, "%s", p.down(nil).Text)
		default:
			p.upgrade = u
			p.work.Add(1)
		}
	}) {
		return driver.Errorf(driver.NotConnected, "the gateway is stopping")
	}
	return err
}

// end gives the pool back. The caller holds mu.
func (u *upgrade) end() {
	if u.pool.upgrade == u { // the next may have it already
		u.pool.upgrade = nil
	}
}

// tell tells of one step.
func (u *upgrade) tell(link, format string, args ...any) {
	p := u.pool
	s := Step{At: time.Now(), Text: fmt.Sprintf(format, args...), Link: link}
	p.mu.Lock()
	s.RolledBack = u.failed != nil
	s.Total = len(p.links.byName)
	for _, ln := range p.links.byName {
		if ln.holder != nil && ln.holder.hash == u.image.Hash() {
			s.Done++
		}
	}
	u.Text, u.Done, u.Total = s.Text, s.Done, s.Total
	p.journal.step(&s)
	listeners := slices.Clone(u.listeners)
	p.mu.Unlock()
	p.log.Info("upgrade: "+s.Text, "version", u.Version, "done", s.Done, "total", s.Total)
	u.step(s)
	for _, hear := range listeners {
		hear(s)
	}
}

// errTakenBack is why an upgrade that the operator takes back fails.
var errTakenBack = errors.New("taken back by the operator")

// TakeBack breaks off the upgrade of a driver that is in hand, also while the new version is
// on probation, and waits until the version before has all links again. step hears of
// every step from now on. It returns the version that was taken back; empty: no upgrade is
// in hand.
func (s *Supervisor) TakeBack(ctx context.Context, driverName string, step func(Step)) (version string, err error) {
	p := s.find(driverName)
	if p == nil {
		return "", nil
	}
	var u *upgrade
	p.do(func() {
		if u = p.upgrade; u != nil {
			u.listeners = append(u.listeners, step)
			u.fail(errTakenBack)
		}
	})
	if u == nil {
		return "", nil
	}
	select {
	case <-u.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if !errors.Is(u.failed, errTakenBack) { // it went back for another reason just before
		return "", nil
	}
	return u.Version, nil
}

// needs reports whether a member is one that the upgrade may have to go back to.
func (u *upgrade) needs(m *member) bool {
	return slices.ContainsFunc(u.turns, func(t *turn) bool { return t.old == m })
}

// fail makes the old members the primaries again, at once. The caller holds mu.
func (u *upgrade) fail(err error) {
	if u.failed != nil {
		return
	}
	u.failed = err
	for _, t := range u.turns {
		if t.shard.primary == t.next && !t.old.leaving {
			t.shard.primary = t.old
		}
	}
}

// forward is the way to the new version.
func (u *upgrade) forward(ctx context.Context) (err error) {
	p := u.pool
	if u.image, err = p.images.find(p.driver, u.Version); err != nil {
		return err
	}
	u.tell("", "version %s is verified (%.12s)", u.image.Version(), u.image.Hash())
	t := u.nextTurn()
	if t == nil {
		u.tell("", "it runs already")
		return u.commit()
	}
	for t != nil { // again where the driver was given more instances meanwhile
		for ; t != nil; t = u.nextTurn() {
			if err := u.take(ctx, t); err != nil {
				return err
			}
		}
		if err := u.probation(ctx); err != nil {
			return err
		}
		t = u.nextTurn()
	}
	if err := u.commit(); err != nil {
		return err
	}
	u.tell("", "version %s is in force", u.image.Version())
	return nil
}

// nextTurn makes the member that is to follow the primary of a shard which does not
// run the new image yet; nil: all do.
func (u *upgrade) nextTurn() (t *turn) {
	p := u.pool
	p.do(func() {
		for _, sh := range p.roster.shards {
			m := sh.primary
			if m == nil || m.candidate || m.life != nil && m.life.hash == u.image.Hash() {
				continue
			}
			next := p.roster.newMember()
			next.candidate, next.image, next.index = true, u.image, sh.index
			t = &turn{shard: sh, old: m, next: next, renews: m.ran != "" && u.image.IsOf(m.ran)}
			u.turns = append(u.turns, t)
			return
		}
	})
	return t
}

// take brings the links of one shard to the new version.
func (u *upgrade) take(ctx context.Context, t *turn) error {
	p := u.pool
	u.tell("", "starting process %d of the new version", t.next.number)
	if err := u.wait(ctx, readyLimit, "be ready", func() bool {
		l := t.next.life
		if l != nil && l.given.refused != "" {
			u.fail(fmt.Errorf("the new version: %s", l.given.refused))
		}
		return t.next.state == Standby && l.stream.attachment != nil && !l.busy && l.given.isCurrent()
	}); err != nil {
		return err
	}
	proc := u.process(t.next)
	if proc == nil {
		return u.reason(errors.New("the new version ended"))
	}
	u.tell("", "process %d is warm and is asked for its health", proc.PID())
	if err := u.ask(ctx, proc); err != nil {
		return u.giveUp(t, err)
	}
	t.before = u.healthOf(ctx, t.old)
	p.do(func() {
		if u.failed == nil {
			t.shard.primary = t.next
		}
	})
	return u.follow(ctx, t)
}

// ask asks a warm process for its health.
func (u *upgrade) ask(ctx context.Context, proc Process) error {
	ctx, cancel := context.WithTimeout(ctx, u.patience())
	defer cancel()
	if _, err := proc.Describe(ctx); err != nil {
		return fmt.Errorf("the new version cannot describe itself: %w", err)
	}
	if _, err := proc.Status(ctx); err != nil {
		return fmt.Errorf("the new version cannot tell its status: %w", err)
	}
	u.pool.mu.Lock()
	state := u.pool.demand.desired.State
	u.pool.mu.Unlock()
	if state == nil {
		return errors.New("no link uses the driver any more")
	}
	faults, err := proc.Validate(ctx, state)
	if err != nil {
		return fmt.Errorf("the new version cannot validate the configuration: %w", err)
	}
	if len(faults) > 0 {
		f := faults[0]
		return fmt.Errorf("the new version refuses the configuration: %d faults, the first in %s/%s/%s: %s", len(faults), f.Link, f.Device, f.Point, f.Text)
	}
	return nil
}

// patience is how long an answer about all links may take.
func (u *upgrade) patience() time.Duration {
	u.pool.mu.Lock()
	defer u.pool.mu.Unlock()
	return allowance(healthLimit, len(u.pool.links.byName))
}

// follow tells of every link that the new process has got, until it has all.
func (u *upgrade) follow(ctx context.Context, t *turn) error {
	p := u.pool
	told := make(map[string]bool)
	for {
		var fresh []string
		done := false
		err := u.wait(ctx, switchLimit, "take its links", func() bool {
			fresh, done = fresh[:0], true
			for name, ln := range p.links.byName {
				switch {
				case p.links.shardOf(ln) != t.shard:
				case ln.holder == nil || ln.holder.m != t.next || ln.holder.busy:
					done = false
				case !told[name]:
					fresh = append(fresh, name)
				}
			}
			return done || len(fresh) > 0
		})
		if err != nil {
			return err
		}
		for _, name := range fresh {
			told[name] = true
			u.tell(name, "link %s is with the new version", name)
		}
		if done {
			return nil
		}
	}
}

// commit makes the new version the one of the pool; the old processes are stopped. It does
// not where the upgrade has failed in the last moment.
func (u *upgrade) commit() (err error) {
	p := u.pool
	p.do(func() {
		if err = u.failed; err != nil {
			return
		}
		p.images.use(u.image)
		for _, m := range p.roster.members {
			if m.candidate {
				m.candidate, m.image = false, nil
			}
		}
		u.end()
	})
	return err
}

// process is the process of a member; nil: it has none.
func (u *upgrade) process(m *member) Process {
	u.pool.mu.Lock()
	defer u.pool.mu.Unlock()
	if m.life == nil {
		return nil
	}
	return m.life.proc
}

// reason is why the upgrade failed: err, if nothing was known before.
func (u *upgrade) reason(err error) error {
	u.pool.mu.Lock()
	defer u.pool.mu.Unlock()
	if u.failed != nil {
		return u.failed
	}
	return err
}
