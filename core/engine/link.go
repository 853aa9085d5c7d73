package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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
	silent  bool  // closed because no device answered: up only with an answer
	tries   tries // to have it up

	panicked   string // the panic that was logged last, ...
	panickedAt int64  // ... and when, on the grid
	panics     uint64 // how many have not been logged since
	abandoned  int    // calls that never returned

	runners  []*runner
	idle     int
	wake     chan struct{}
	timer    *time.Timer
	timed    bool  // a runner waits on the timer ...
	timedFor int64 // ... for this
	quiet    []chan struct{}

	agenda agenda
	stopBy int64 // when a stop no longer waits for the calls in flight

	state control.LinkStatus
	turns atomic.Uint64 // calls begun
	seen  linkSighting  // the watchdog's
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
		wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), held: true,
	}
	l.timer.Stop()
	l.spec.Devices = nil
	if l.spec.Timeout <= 0 {
		l.spec.Timeout = defaultTimeout
	}
	l.state = control.LinkStatus{Name: spec.Name, Since: time.Now()}
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
	l.spawn()
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
	l.signal()
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
	return l.session == nil && !l.opening && l.trial == nil && l.calls(nil) == 0
}

func (l *link) rest() {
	if l.atRest() {
		for _, c := range l.quiet {
			close(c)
		}
		l.quiet = nil
	}
}

// signal wakes one runner to look again.
func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// calls counts the driver calls in flight, except's own left out.
func (l *link) calls(except *runner) int {
	n := 0
	for _, r := range l.runners {
		if r.running && r != except {
			n++
		}
	}
	return n
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
	l.setCondition(control.Down, cause)
	for _, d := range l.devices {
		if !d.out() {
			l.setDevice(d, control.Down, cause)
			l.tellBad(d, cause, nil)
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

func (l *link) setStopped(cause *driver.Error) {
	l.setCondition(control.Stopped, cause)
	for _, d := range l.devices {
		if d.spec.Offline {
			l.setDevice(d, control.Stopped, errOffline)
		} else {
			l.setDevice(d, control.Stopped, cause)
		}
	}
}

func (l *link) setCondition(c control.Condition, cause *driver.Error) {
	same := l.state.Condition == c && sameFault(l.state.Cause, cause)
	if same && !l.tries.due(l.e.clock.now()) {
		return
	}
	if !same {
		l.state.Condition, l.state.Cause, l.state.Since = c, cause, time.Now()
	}
	l.event(control.Event{Time: l.state.Since, Condition: c, Cause: l.state.Cause, Failures: l.tries.failed})
	l.tries.told, l.tries.toldAt = l.tries.failed, l.e.clock.now()
	if c == control.Up {
		l.tries = tries{}
	}
}

// tellEvery is how often a condition that lasts is told again while attempts fail.
const tellEvery = 30 * time.Second

// tries counts attempts that failed in a row.
type tries struct {
	failed uint64
	told   uint64 // of them
	toldAt int64  // on the grid
}

// due reports whether more have failed than was told, and that some time ago.
func (t *tries) due(now int64) bool { return t.failed != t.told && now-t.toldAt >= int64(tellEvery) }

func (l *link) setDevice(d *device, c control.Condition, cause *driver.Error) {
	if d.status.Condition == c && (d.status.Cause == cause || sameFault(d.status.Cause, cause)) {
		if !d.gone && d.tries.due(l.e.clock.now()) {
			l.tell(d)
		}
		return
	}
	d.status.Condition, d.status.Cause, d.status.Since = c, cause, time.Now()
	if !d.gone {
		l.tell(d)
	}
}

func (l *link) event(e control.Event) {
	if l.e.o.OnEvent != nil {
		e.Link = l.name
		l.e.o.OnEvent(e)
	}
}

// tell sends the present condition of a device.
func (l *link) tell(d *device) {
	s := &d.status
	l.event(control.Event{Time: s.Since, Device: s.Name, Condition: s.Condition, Cause: s.Cause, Pushes: s.Pushes, Failures: d.tries.failed})
	d.tries.told, d.tries.toldAt = d.tries.failed, l.e.clock.now()
	if s.Condition == control.Up {
		d.tries = tries{}
	}
}

func sameFault(a, b *driver.Error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Code == b.Code && a.Text == b.Text
}

func (l *link) status() control.LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
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
