package supervise

import (
	"slices"
	"time"
)

const (
	maxMembers = 16          // shards of a driver; and as many spares
	watchEvery = time.Second // between two looks at the heartbeats
)

// pool is all processes of one driver. mu guards everything but what is said to be
// constant; reconcile brings it nearer to what is desired after every change.
type pool struct {
	driver string // constant, as are those to the next blank line
	s      *Supervisor
	log    *driverLog
	lines  *logbook
	done   chan struct{} // closed when the pool has ended
	timer  *time.Timer   // when reconcile is to look again by itself
	in     *inlet

	monitor // its mu guards the rest, but for what is constant in it
	demand  demand
	images  images
	dying   int // lives that are over and of which something is left
	roster  roster
	links   linkTable
	losses  lossBook
	tracker tracker
	upgrade *upgrade // nil: none
	journal journal
}

// newPool makes the pool of a driver. before is the one that has ended, whose lines stay;
// nil: there was none.
func newPool(s *Supervisor, driverName string, adopted []stored, before *pool) *pool {
	lines := newLogbook(s.o.LogLines)
	if before != nil {
		lines = before.lines
	}
	p := &pool{
		driver: driverName, s: s, log: newDriverLog(s.o.Log, driverName), lines: lines,
		done: make(chan struct{}), timer: time.NewTimer(time.Hour),
		images: images{driver: driverName, find: s.o.Image}, journal: journal{driver: driverName, events: &s.events},
	}
	p.timer.Stop()
	p.in = &inlet{driver: driverName, spool: s.o.Spool, log: p.log, handles: s.o.Handles, gaps: &s.gaps, shares: &s.shares}
	p.roster.hire = func(number int) *member { return newMember(p, number) }
	p.roster.kept = func(m *member) bool { return p.upgrade != nil && p.upgrade.needs(m) }
	p.links = linkTable{roster: &p.roster, byName: make(map[string]*link)}
	p.losses = lossBook{in: p.in, links: &p.links}
	p.tracker = tracker{log: p.log, devices: p.links.devices}
	p.open(p.reconcile)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adoptAll(adopted)
	go p.run()
	p.reconcile()
	return p
}

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

// run looks again when a time has come, until the pool has ended.
func (p *pool) run() {
	for {
		select {
		case <-p.timer.C:
			p.do(p.watch)
		case <-p.done:
			p.timer.Stop()
			return
		}
	}
}

// reconcile starts whatever can be started. The caller holds mu.
func (p *pool) reconcile() {
	p.plan()
	for _, m := range slices.Clone(p.roster.members) {
		m.step()
	}
	if p.demand.runs() && p.demand.desired.State != nil && !p.roster.isAdopting() {
		p.moveLinks()
	}
	for _, m := range p.roster.members {
		m.settle()
	}
	p.checkImage()
	if p.demand.isOver() && len(p.roster.members) == 0 && p.dying == 0 && p.upgrade == nil {
		p.end()
		return
	}
	if wait, ok := p.nextLook(); ok {
		p.timer.Reset(wait)
	} else {
		p.timer.Stop()
	}
}

// end is the end of the pool. What was lost and found no successor is reported now.
func (p *pool) end() {
	p.ending = true
	lost := p.losses.takeAll()
	go func() {
		p.work.Wait()
		for _, l := range lost {
			p.writeLoss(l, time.Now())
		}
		p.cancel()
		close(p.done)
	}()
}

// plan makes and dismisses members, so that there are as many as desired, and
// gives every shard a primary.
func (p *pool) plan() {
	if !p.demand.isKnown() {
		return
	}
	shards, spares := p.demand.size()
	if p.roster.takesWhole() {
		shards = min(shards, 1)
	}
	p.roster.fill(shards)
	if p.demand.runs() && (p.upgrade != nil || !p.demand.settled) {
		return // everybody stays while a version is being replaced, or until it is known what is desired
	}
	p.roster.staff(spares)
}

// moveLinks starts what is to be opened and drained. Once all links are where they should be,
// processes forget what they have no more to do with.
func (p *pool) moveLinks() {
	opens, drains, settled := p.links.moves()
	for _, o := range opens {
		if o.to.busy || o.to.whole && !p.links.allFree(o.to) {
			continue
		}
		if !o.to.whole { // the others follow
			o.links = o.links[:min(len(o.links), int(o.to.pace))]
		}
		o.to.activate(o.links, o.by)
	}
	for from, links := range drains {
		if !from.busy {
			from.drain(links)
		}
	}
	if !settled {
		return
	}
	for _, m := range p.roster.members {
		if m.life != nil {
			m.life.given.trim()
		}
	}
}

// nextLook is how long until something has to be looked at by itself.
func (p *pool) nextLook() (wait time.Duration, ok bool) {
	const never = 24 * time.Hour // longer than anything that is waited for
	wait = never
	for _, m := range p.roster.members {
		due := never
		switch {
		case m.launching != nil:
		case m.life == nil && (m.state == BackingOff || m.state == Quarantined):
			due = time.Until(m.retry)
		case m.life != nil && m.life.stream.attachment != nil:
			due = watchEvery
		case m.life != nil && !m.life.busy && !m.life.stream.retryAt.IsZero():
			due = time.Until(m.life.stream.retryAt)
		}
		wait = min(wait, due)
	}
	if due, ok := p.tracker.next(); ok {
		wait = min(wait, due)
	}
	return max(wait, 0), wait < never
}

// watch looks for processes that hang, and at what is to be told.
func (p *pool) watch() {
	if p.demand.runs() {
		p.tracker.look(time.Now())
	} else {
		p.tracker.clear()
	}
	for _, m := range p.roster.members {
		if m.life != nil {
			m.life.stream.judge()
		}
	}
}

// want sets what is desired.
func (p *pool) want(d Desired) {
	if p.demand.set(d) {
		p.roster.forgive("the configuration has changed")
		p.setLinks()
	}
}

// leave is want with nothing: no link uses the driver.
func (p *pool) leave() {
	p.demand.leave()
	p.setLinks()
}

// prepare wants a process, whatever Set wants. The deaths of one in quarantine stay
// counted, so that it goes back there with the next.
func (p *pool) prepare() {
	p.demand.prepared = true
	for _, m := range p.roster.members {
		if m.state == Quarantined {
			m.enter(Verified, "tried once more, to check a configuration")
		}
	}
}

// setLinks makes everything that is kept of links fit the desired state.
func (p *pool) setLinks() {
	if p.demand.desired.State != nil {
		p.tracker.forget(p.demand.desired.State)
	}
	p.links.set(p.demand.desired.State)
	now := time.Now()
	for _, lost := range p.losses.takeUnconfigured() {
		p.work.Go(func() { p.writeLoss(lost, now) })
	}
}

// detaches reports whether a process that is launched now outlives the core.
func (p *pool) detaches() bool {
	if !p.demand.wanted && p.s.o.Detach != nil {
		return p.s.o.Detach(p.driver)
	}
	return p.demand.desired.Detach
}

// writeLoss writes the record of a loss that no process is to tell of.
func (p *pool) writeLoss(l *loss, now time.Time) {
	if p.in.spool == nil {
		return
	}
	state := l.state
	if state == nil {
		p.mu.Lock()
		state = p.demand.desired.State
		p.mu.Unlock()
	}
	p.in.writeLoss(l, state, now, nil)
}

// close ends the pool.
func (p *pool) close(keepDetached bool) {
	if d := &p.demand; !d.closing {
		d.closing, d.keep = true, keepDetached
		time.AfterFunc(hurryLimit, p.hurryNow)
	}
}

func (p *pool) isClosing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.demand.closing
}

func (p *pool) isWanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.demand.wanted || p.demand.prepared) && !p.demand.closing
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
