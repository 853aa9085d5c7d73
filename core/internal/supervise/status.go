package supervise

import (
	"context"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Status is what is known of a driver. State, Since, Cause, Retry, Stderr, PID and
// Started are those of the primary that is worst off. Counters run since the gateway
// started.
type Status struct {
	Driver   string
	Version  string
	Hash     string
	State    State
	Since    time.Time
	Cause    string    // why it is in this state, where there is a reason
	Over     bool      // Cause is why it was down the last time
	Retry    time.Time // with BackingOff: when the next start is due
	Stderr   []string  // the last lines of the last process that died
	PID      int       // 0: no process
	Started  time.Time // when the process was launched
	Restarts uint64
	Frames   uint64
	Bytes    uint64
	Gaps     uint64
	Refused  uint64          // frames and events that were not the driver's to send, ...
	Refusal  string          // ... and why the last was
	Engine   *control.Status // of all processes together; nil: there is none, or none answered
	Down     *driver.Error   // why its links are down; nil while it is active, or starts for the first time
	Lost     time.Time       // since when they are, with Down

	Instances int
	Standby   int
	Disabled  string // why it is not to run; empty: it is
	Processes []ProcessStatus
	History   []Event // the latest transitions, oldest first
	Upgrade   *UpgradeStatus

	Late     *Late            // set: Engine's counters of no link are from before
	LateLink map[string]*Late // of links whose counters in Engine are from before; their conditions are not
}

// Late tells that a process has been asked for its counters and has not told them yet.
type Late struct {
	At    time.Time // those that are known are from then; zero: none are known
	Since time.Time // when it was launched, or told them last
}

// ProcessStatus is one process's.
type ProcessStatus struct {
	Member   int
	Shard    int  // -1: a spare
	Next     bool // of a version that is being put in the place of another
	State    State
	Since    time.Time
	Cause    string
	Over     bool // as in Status
	Retry    time.Time
	PID      int
	Version  string
	Hash     string
	Started  time.Time
	Restarts uint64
	Links    int   // that it holds
	Pending  int   // links that it is still to be given, or to open
	Late     *Late // set: it has not told its counters, those of its links are from before
	Detached bool
	Adopted  bool // from an earlier run of the gateway
	Stderr   []string
}

// status puts together what all processes say. Of one that has not answered when ctx is
// done it is what is known: what it answered last, and the conditions and counters that it
// has sent since.
func (p *pool) status(ctx context.Context) Status {
	a := account{links: &p.links, began: time.Now()}
	p.mu.Lock()
	a.Status = p.known()
	lives := p.roster.configured()
	var questions []<-chan struct{}
	if !p.ending {
		for _, l := range lives {
			questions = append(questions, l.intake.counters.ask(l))
		}
	}
	p.mu.Unlock()
	for _, over := range questions {
		select {
		case <-over:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(lives) == 0 {
		return a.Status
	}
	a.Engine = new(control.Status)
	for _, l := range lives {
		if !l.over {
			a.add(l)
		}
	}
	if state := p.demand.desired.State; state != nil {
		a.addMissing(state, p.down)
	}
	return a.Status
}

// known is what is known without asking a process. The caller holds mu.
func (p *pool) known() Status {
	s := Status{
		Driver: p.driver, State: Stopped, Cause: p.demand.stopCause(), Disabled: p.demand.stopCause(), Version: p.images.version,
		Instances: len(p.roster.shards), Standby: p.demand.desired.Standby, History: slices.Clone(p.journal.list),
	}
	p.in.counts.tell(&s)
	closed := p.links.toOpen()
	for _, m := range p.roster.members {
		ps := m.status()
		if m.life != nil {
			ps.Pending = max(m.life.given.pending, closed[m.life]+m.life.opening)
		}
		s.Processes = append(s.Processes, ps)
		s.Restarts += m.restarts()
	}
	if p.upgrade != nil {
		u := p.upgrade.UpgradeStatus
		s.Upgrade = &u
	}
	m := p.roster.worst()
	if m != nil {
		m.tell(&s)
		if m.state != Active && m.state != Standby && (m.state.down() || m.cause != "") {
			s.Down, s.Lost = p.down(m), m.lost
		}
		return s
	}
	s.Down = p.down(nil)
	if n := len(p.journal.list); n > 0 {
		s.Since = p.journal.list[n-1].Time
	}
	if len(p.roster.members) > 0 { // they are being stopped
		s.State, s.Since = p.roster.members[0].state, p.roster.members[0].since
	}
	s.Lost = s.Since
	return s
}

// tell fills in what is said of the primary that is worst off.
func (m *member) tell(s *Status) {
	s.State, s.Since, s.Cause, s.Retry, s.Stderr, s.Started = m.state, m.since, m.cause, m.retry, m.tail, m.began
	s.Over = m.isOver()
	if l := m.life; l != nil {
		s.PID, s.Version, s.Hash = l.proc.PID(), l.version, l.hash
		if l.given.refused != "" {
			s.Cause, s.Over = l.given.refused, false
		}
	}
}

// account is a Status to which is added what the processes have answered, each of its links
// only. The pool's mu guards what it reads.
type account struct {
	Status
	links *linkTable
	began time.Time // answers from before are late
}

// add adds what is known of a process.
func (a *account) add(l *life) {
	known := l.intake.counters.answer(a.began)
	last := known.last
	a.Engine.Ring = sum(a.Engine.Ring, known.ring)
	if last == nil {
		last = new(control.Status)
	}
	for _, m := range last.Meters {
		if m.Link == "" || a.links.holds(l, m.Link) {
			a.Engine.Meters = append(a.Engine.Meters, m)
		}
	}
	if !known.fresh {
		late := &Late{At: known.at, Since: known.at}
		if known.at.IsZero() {
			late.Since = l.started
		}
		if !known.knowsRing {
			a.Late = late
		}
		a.addLate(l, last, late)
		return
	}
	for i := range last.Links {
		if a.links.holds(l, last.Links[i].Name) {
			a.Engine.Links = append(a.Engine.Links, last.Links[i])
		}
	}
}

// addLate adds the links of a process that has not answered: their conditions are known.
func (a *account) addLate(l *life, last *control.Status, late *Late) {
	for i := range a.Processes {
		if a.Processes[i].Member == l.m.number {
			a.Processes[i].Late = late
		}
	}
	if a.LateLink == nil {
		a.LateLink = make(map[string]*Late)
	}
	before := make(map[string]*control.LinkStatus, len(last.Links))
	for i := range last.Links {
		before[last.Links[i].Name] = &last.Links[i]
	}
	never := &Late{Since: late.Since}
	for name, ln := range a.links.byName {
		if ln.holder != l {
			continue
		}
		if known := before[name]; known != nil {
			a.Engine.Links, a.LateLink[name] = append(a.Engine.Links, ln.overlay(*known)), late
		} else {
			a.Engine.Links, a.LateLink[name] = append(a.Engine.Links, ln.overlay(control.LinkStatus{})), never
		}
	}
}

// addMissing adds the links that no process speaks for, because the one that had them is
// down while others run.
func (a *account) addMissing(state *control.State, down func(m *member) *driver.Error) {
	for i := range state.Links {
		spec := &state.Links[i]
		ln := a.links.byName[spec.Name]
		sh := a.links.shardOf(ln)
		if ln.holder != nil && !ln.holder.over || sh == nil || sh.primary == nil || !sh.primary.state.down() {
			continue
		}
		m := sh.primary
		s := control.LinkStatus{Name: spec.Name, Condition: control.Down, Since: m.lost, Cause: down(m)}
		for j := range spec.Devices {
			s.Devices = append(s.Devices, control.DeviceStatus{Name: spec.Devices[j].Name, Condition: control.Down, Since: m.lost, Cause: s.Cause})
		}
		a.Engine.Links = append(a.Engine.Links, s)
	}
}

// A Run is one process that lives.
type Run struct {
	Version string
	Hash    string
	Links   int // that it holds
}

func (m *member) status() ProcessStatus {
	s := ProcessStatus{Member: m.number, Shard: m.index, Next: m.candidate, State: m.state, Since: m.since, Cause: m.cause, Over: m.isOver(),
		Restarts: m.restarts(), Stderr: m.tail}
	if m.state == BackingOff || m.state == Quarantined {
		s.Retry = m.retry
	}
	if !m.pool.roster.isPrimary(m) {
		s.Shard = -1
	}
	if l := m.life; l != nil {
		s.PID, s.Version, s.Hash, s.Started, s.Links = l.proc.PID(), l.version, l.hash, l.started, l.holds
		s.Detached, s.Adopted = l.record.detached, l.adopted != nil
	}
	return s
}

// isOver reports whether the cause is that of the last time down.
func (m *member) isOver() bool { return m.state == Active || m.state == Standby || m.state == Draining }

// sum is what the rings of two processes are together.
func sum(a, b control.RingStatus) control.RingStatus {
	return control.RingStatus{
		NextSequence: max(a.NextSequence, b.NextSequence), AckedSequence: max(a.AckedSequence, b.AckedSequence),
		Bytes: a.Bytes + b.Bytes, MaxBytes: a.MaxBytes + b.MaxBytes, Samples: a.Samples + b.Samples,
		Dropped: a.Dropped + b.Dropped, Slowed: a.Slowed + b.Slowed,
		SpillBytes: a.SpillBytes + b.SpillBytes, MaxSpillBytes: a.MaxSpillBytes + b.MaxSpillBytes,
	}
}
