package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const defaultTimeout = time.Second

// A link is the scheduler of one wire. Its runners are goroutines that take turns:
// with the lock, a runner picks what is to be done; without it, it makes the
// driver call itself; with it again, it settles the outcome. One runner serves a link
// that takes one call at a time, Window of them one that pipelines. mu is
// never held during a driver call.
type link struct {
	e     *Engine
	name  string
	log   *slog.Logger
	after <-chan struct{} // the link of this name before: it must be done first; may be nil
	done  chan struct{}   // closed when removed and finished

	mu      sync.Mutex
	spec    control.Link // without devices
	devices []*device
	active  bool // wanted open: not removed, not held, not off line
	held    bool // closed until Activate: another process may have it
	removed bool
	trial   *trial // has the wire
	shift   int64  // of the grids, see grid.shifted
	kept    []byte
	handed  *handLink // what to begin with when it is no longer held
	restAt  int64     // when it was stopped, on the grid

	session *session
	opening bool
	stopped *driver.Error // InvalidConfig: not opened again until the configuration changes
	backoff backoff
	silent  bool // closed because no device answered: up only with an answer

	panics panics
	crew   crew
	quiet  []chan struct{}

	agenda agenda
	stopBy int64 // when a stop no longer waits for the calls in flight

	conditions conditions
	seen       linkSighting // the watchdog's
}

// A session is the time between an open and a close.
type session struct {
	link    driver.Link
	ctx     context.Context
	cancel  context.CancelFunc
	window  int
	broken  bool // to be closed
	closing bool // the close was begun
	closed  bool // the close has returned
	keeper  driver.Keeper
	asked   bool // what to keep
	keeping bool // the answer has not come
	closeBy int64
	subs    int
	began   int64
	suspect *device // the first whose answer did not come or was wrong since the last that did
}

func newLink(e *Engine, spec control.Link, after <-chan struct{}) *link {
	l := &link{
		e: e, name: spec.Name, log: e.log.With("driver", e.info.Name, "link", spec.Name),
		after: after, done: make(chan struct{}), spec: spec,
		held: true,
	}
	l.crew.init(&l.mu)
	l.panics = panics{clock: e.clock, log: l.log}
	l.conditions = conditions{
		clock: e.clock, onEvent: e.o.OnEvent, link: control.LinkStatus{Name: spec.Name, Since: time.Now()},
	}
	l.spec.Devices = nil
	if l.spec.Timeout <= 0 {
		l.spec.Timeout = defaultTimeout
	}
	return l
}

// start begins with the runner that opens the link. The link must be removed.
func (l *link) start() {
	l.e.mu.Lock()
	l.e.watched[l] = struct{}{}
	l.e.mu.Unlock()
	l.e.running.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crew.start(&runner{l: l})
}

// setActive lets the link open, or has it closed. It is called by settleState.
func (l *link) setActive(active bool) {
	l.active = active
	now := l.e.clock.now()
	if active {
		l.backoff.until, l.backoff.failures = 0, 0
	} else {
		l.restAt = now
		l.stopBy = now + int64(grace)
		l.agenda.refuse(l.whyStopped(), nil)
		if l.session == nil {
			l.stoppedNow()
		}
	}
	l.crew.signal()
}

// remove stops the link for good. done is closed when it has ended.
func (l *link) remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed = true
	l.setActive(false)
}

func (l *link) whyStopped() *driver.Error {
	if l.spec.Offline {
		return errOffline
	}
	return errStopped
}

// drained is closed as soon as an inactive link has nothing open.
func (l *link) drained() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	if l.atRest() {
		close(c)
	} else {
		l.quiet = append(l.quiet, c)
	}
	return c
}

func (l *link) atRest() bool {
	return l.session == nil && !l.opening && l.trial == nil && l.crew.calls() == 0
}

func (l *link) rest() {
	if l.atRest() {
		for _, c := range l.quiet {
			close(c)
		}
		l.quiet = nil
	}
}

// breakSession has the session closed and opened again with backoff.
func (l *link) breakSession(cause *driver.Error) {
	s := l.session
	if s == nil || s.broken {
		return
	}
	s.broken = true
	s.cancel()
	l.agenda.refuse(cause, nil)
	l.log.Debug("link is closed and will be opened again", "code", cause.Code.String(), "err", cause)
	l.conditions.set(control.Down, cause)
	for _, d := range l.devices {
		if !d.out() {
			l.conditions.setDevice(d, control.Down, cause)
			l.e.outlet.bad(d, cause, nil)
		}
	}
	l.backoff.fail(l.e.clock.now())
}

// endSession forgets a session that was closed and has no call left.
func (l *link) endSession() {
	l.session.cancel()
	l.keepDue()
	l.session = nil
	l.agenda.close()
	for _, d := range l.devices {
		d.detach()
	}
	if !l.active {
		l.stoppedNow()
	}
}

func (l *link) status() control.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.conditions.link
	s.Devices = make([]control.DeviceStatus, len(l.devices))
	for i, d := range l.devices {
		s.Devices[i] = d.status
	}
	return s
}

func (l *link) device(name string) *device {
	i := slices.IndexFunc(l.devices, func(d *device) bool { return d.spec.Name == name })
	if i < 0 {
		return nil
	}
	return l.devices[i]
}
