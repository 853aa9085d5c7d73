package supervise

import (
	"slices"
	"time"
)

// State is what a member of a pool is in.
type State uint8

// The states.
const (
	Verified    State = iota // what would run is known to be what was signed, and does not run yet
	Starting                 // a process is being launched or adopted, or has no state applied yet
	Standby                  // the state is applied, nothing is open
	Active                   // it holds links
	Draining                 // its links are being finished and closed
	BackingOff               // the process died or would not start; another follows
	Quarantined              // it died too often: it waits for a long time, an operator, a new state or a new image
	Stopped                  // for good
)

var stateNames = [...]string{"verified", "starting", "standby", "active", "draining", "backing-off", "quarantined", "stopped"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// next is the table of the machine: where each state can lead.
func (s State) next() []State {
	switch s {
	case Verified:
		return []State{Starting, BackingOff, Quarantined, Stopped}
	case Starting:
		return []State{Standby, Draining, BackingOff, Quarantined, Stopped}
	case Standby:
		return []State{Active, Draining, BackingOff, Quarantined, Stopped}
	case Active:
		return []State{Standby, Draining, BackingOff, Quarantined, Stopped}
	case Draining:
		return []State{Standby, Active, BackingOff, Quarantined, Stopped}
	case BackingOff:
		return []State{Verified, Quarantined, Stopped}
	case Quarantined:
		return []State{Verified, Stopped}
	}
	return nil // Stopped, and what is no state
}

// down reports whether a member in this state has no process that could hold links.
func (s State) down() bool { return s == BackingOff || s == Quarantined || s == Stopped }

// enter moves the member to a state. Only the cause of trouble is kept when the
// trouble is over, so that one sees why a driver was restarted.
func (m *member) enter(to State, cause string) {
	if to == m.state {
		return
	}
	from := m.state
	if !slices.Contains(from.next(), to) {
		m.log().Error("a driver process went from one state to another that does not follow", "from", from.String(), "to", to.String())
	}
	m.state, m.since = to, time.Now()
	if to.down() && cause != "" {
		m.cause = cause
	}
	switch {
	case to.down() && m.lost.IsZero():
		m.lost = m.since
	case to == Active || to == Standby:
		m.lost = time.Time{}
	}
	m.pool.journal.record(m, from, cause)
	m.log().Debug("driver process is "+to.String(), "restarts", m.restarts())
}

// settle names the state that the member is in by what it holds.
func (m *member) settle() {
	l := m.life
	if l == nil || l.over || l.retiring || !l.given.accepted {
		return
	}
	m.logUp(time.Now())
	if m.state == Starting {
		m.enter(Standby, "") // also one that was adopted with links, which it was at least
	}
	switch {
	case l.holds == 0:
		m.enter(Standby, "")
	case m.pool.roster.isPrimary(m):
		m.enter(Active, "")
	default:
		m.enter(Draining, "its links go to another process")
	}
}
