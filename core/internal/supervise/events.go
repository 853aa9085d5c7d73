package supervise

import (
	"sync"
	"time"
)

const (
	maxEvents  = 1024 // kept of all drivers
	maxHistory = 50   // transitions kept of each
)

// An Event is a transition of a process, or a step of an upgrade.
type Event struct {
	Number uint64 // grows by one with every event, and over the gateway's restarts
	Time   time.Time
	Driver string
	Member int // of the driver's processes, numbered in the order in which they were first wanted
	PID    int // of the present or last process; 0: there was none yet
	Link   string
	Step   string // of an upgrade; empty: a transition
	From   State
	To     State
	Cause  string
}

// eventLog keeps the latest events.
type eventLog struct {
	mu    sync.Mutex
	list  []Event // oldest first
	last  uint64
	grown chan struct{} // closed and replaced with every event
}

func (l *eventLog) add(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Number = l.last
	if len(l.list) >= maxEvents {
		l.list = append(l.list[:0], l.list[maxEvents/4:]...)
	}
	l.list = append(l.list, *e)
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *eventLog) after(since uint64) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Event
	for i := range l.list {
		if l.list[i].Number > since {
			list = append(list, l.list[i:]...)
			break
		}
	}
	return list, l.grown
}

// journal is what happened to one driver. The pool's mu guards it.
type journal struct {
	driver string    // constant, as is events
	events *eventLog // of all drivers

	list []Event // the latest transitions, oldest first
}

// record keeps a transition of a member to its present state.
func (j *journal) record(m *member, from State, cause string) {
	e := Event{Time: time.Now(), Driver: j.driver, Member: m.number, PID: m.pid, From: from, To: m.state, Cause: cause}
	j.events.add(&e)
	if len(j.list) >= maxHistory {
		j.list = append(j.list[:0], j.list[1:]...)
	}
	j.list = append(j.list, e)
}

// step tells of a step of an upgrade.
func (j *journal) step(s *Step) {
	j.events.add(&Event{Time: s.At, Driver: j.driver, Link: s.Link, Step: s.Text})
}
