package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	applyLimit    = 30 * time.Second
	attachLimit   = 5 * time.Second
	drainLimit    = 5 * time.Second  // for all links, at the end; and for each sign that it goes on giving what it has
	giveLimit     = 20 * time.Second // until it has given all, but for the time in which the spool takes nothing
	endLimit      = 30 * time.Second // with that
	hurryLimit    = 5 * time.Second  // for what is in hand when the pool is closed
	moveLimit     = 10 * time.Second
	backLimit     = 4 * time.Second // to give links back to the version before
	activateLimit = 10 * time.Second
	adoptLimit    = 10 * time.Second
	stopLimit     = 5 * time.Second // for a process to exit when asked, before host's watchdog has certainly killed it
)

// member is a place for one process. Its pool's mu guards all of it.
type member struct {
	pool   *pool
	number int // unique in the pool, constant
	index  int // of its shard; -1: a spare

	state State
	since time.Time
	cause string    // of the last trouble
	lost  time.Time // since when nothing is open, after a failure; zero: something is, or never was
	tail  []string  // the last lines of the last process that died

	life      *life // nil: no process
	launching context.CancelFunc
	pid       int // of the present or last process; 0: none yet
	starts    uint64
	leaving   bool    // to be stopped for good
	candidate bool    // of the upgrade in hand: it is not restarted
	image     Image   // what it is launched from; nil: the pool's
	ran       string  // the hash of the image that it ran last
	taking    bool    // the process of a record is being adopted
	record    *stored // adopt this instead of launching; nil: launch
	trouble
}

func newMember(p *pool, number int) *member {
	return &member{pool: p, number: number, index: -1, since: time.Now(), trouble: newTrouble()}
}

func (m *member) log() *slog.Logger {
	log := m.pool.log.Logger
	if m.life != nil {
		log = log.With("pid", m.life.proc.PID())
	}
	return log
}

func (m *member) restarts() uint64 { return max(m.starts, 1) - 1 }

// worth orders spares: what is kept comes first.
func (m *member) worth() int {
	switch {
	case m.stale():
		return 0
	case m.state == Standby || m.state == Active || m.state == Draining:
		return 3
	case m.life != nil:
		return 2
	}
	return 1
}

// stale reports whether the member runs another image than the pool's.
func (m *member) stale() bool {
	return m.life != nil && m.pool.images.isStale(m.life.hash)
}

// dismiss makes the member stop for good, once its links have gone. An adoption goes on
// to its end: the process may have links open.
func (m *member) dismiss() {
	m.leaving = true
	if m.launching != nil && !m.taking {
		m.launching()
	}
}

// step starts the next operation of the member, where one is due.
func (m *member) step() {
	p, l := m.pool, m.life
	switch {
	case m.launching != nil || l != nil && l.busy:
	case l == nil && m.leaving:
		m.remove(p.demand.stopCause())
	case l == nil:
		if m.state == Quarantined && time.Until(m.retry) <= 0 {
			m.enter(Verified, "tried once more after a quarantine")
		}
		if m.record != nil || m.state == Verified || m.state == BackingOff && time.Until(m.retry) <= 0 {
			m.launch()
		}
	case l.over || l.killed || isDone(l.proc.Done()):
	case p.demand.letsGo() && l.record.detached:
		l.release()
	case l.adopted != nil && !l.stream.attached && l.stream.isDue():
		l.stream.attach() // before all else: it has what it read without a gateway
	case m.leaving && (!p.demand.runs() || l.holds == 0):
		l.retire()
	case l.record.writing: // a later core must be able to take over what has links
	case p.demand.desired.State != nil && p.demand.runs() && !l.given.isCurrent() && l.given.apply():
	case (l.given.state != nil || l.adopted != nil) && l.stream.isDue():
		l.stream.attach()
	}
}

// remove is the end of the member.
func (m *member) remove(cause string) {
	m.enter(Stopped, cause)
	m.pool.roster.remove(m)
	if m.candidate && m.pool.upgrade != nil {
		m.pool.upgrade.fail(errors.New("the driver is being stopped"))
	}
}

// fall decides what comes after a process that died or did not start.
func (m *member) fall(cause error, death, wasActive bool) {
	p := m.pool
	switch {
	case m.candidate:
		m.enter(Stopped, cause.Error())
		m.leaving = true
		if p.upgrade != nil {
			p.upgrade.fail(cause)
		}
		m.remove("")
		return
	case m.leaving:
		return // the next step removes it
	}
	now := time.Now()
	pause := m.next(now, wasActive)
	offender := death && isOffence(cause) && m.offends(now)
	if death && m.dies(now) || offender {
		pause, why := m.lock(), "it died again after a quarantine"
		if offender {
			why = fmt.Sprintf("%d deaths in %v for what it sent, the last", maxDeaths, offencesWithin)
		}
		if m.locked == 1 && len(m.deaths) >= maxDeaths {
			why = fmt.Sprintf("%d deaths in %v, the last", maxDeaths, deathsWithin)
		}
		m.retry = now.Add(pause)
		m.repeats.fails(cause, now)
		m.enter(Quarantined, fmt.Sprintf("%s: %v", why, cause))
		m.log().Error("driver is quarantined: `fieldloom driver enable`, a change of its configuration or another version starts it before", "err", cause, "retry", pause,
			"failures", m.repeats.n)
		return
	}
	m.retry = now.Add(pause)
	m.enter(BackingOff, cause.Error())
	m.logDown(cause, now, pause)
	m.replaceBySpare()
}

// afterTakeover is when the next spare is started: its start must not take the processor from
// the one that has just taken over.
const afterTakeover = 500 * time.Millisecond

// replaceBySpare gives a warm spare the place of a primary that died, and its
// record of deaths.
func (m *member) replaceBySpare() {
	spare := m.pool.roster.replace(m)
	if spare == nil {
		return
	}
	m.trouble, spare.trouble = spare.trouble, m.trouble
	m.retry, spare.retry = spare.retry, m.retry
	m.retry = time.Now().Add(afterTakeover)
}

func (m *member) forgive(why string) {
	m.trouble = newTrouble()
	if m.life != nil {
		m.began = m.life.started
	}
	if m.state == Quarantined {
		m.enter(Verified, why)
	}
}

// logDown logs that a process died or did not start.
func (m *member) logDown(cause error, now time.Time, pause time.Duration) {
	level := slog.LevelDebug
	if m.repeats.fails(cause, now) {
		level = slog.LevelError
	}
	m.log().Log(m.pool.ctx, level, "driver is down", "err", cause, "retry", pause.Round(time.Millisecond),
		"failures", m.repeats.n, "within", now.Sub(m.repeats.first).Round(time.Second))
}

// logUp logs that a process that had failed is up: after one failure at once, after more when
// it has stayed up for a while.
func (m *member) logUp(now time.Time) {
	if m.repeats.n == 0 || m.repeats.n > 1 && now.Sub(m.life.started) < calm {
		return
	}
	m.log().Info("driver is up again", "for", m.life.started.Sub(m.repeats.first).Round(time.Second), "failures", m.repeats.n)
	m.repeats = repeats{}
}
