package engine

import (
	"context"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

type jobKind uint8

const (
	jobNone jobKind = iota
	jobExit
	jobOpen
	jobClose
	jobKeep
	jobPrepare
	jobPoll
	jobProbe
	jobRequest
	jobBreak // no call: the session is to be closed
	jobEnd   // no call: the session was closed
)

var jobNames = [...]string{"nothing", "exit", "Open", "Close", "Keep", "Device", "Read", "Read of a probe", "a request", "a break", "an end"}

// name is for people.
func (j *job) name() string { return jobNames[j.kind] }

// A job is one driver call, or a few that belong together.
type job struct {
	kind  jobKind
	d     *device
	group *group
	req   *request
	limit time.Duration // of the call
	due   int64         // of a poll
}

// never is a time on the grid that does not come.
const never = math.MaxInt64

// A runner is one goroutine of a link, and its call in flight.
type runner struct {
	l         *link
	job       job
	session   *session
	running   bool
	abandoned bool
	began     int64
	hangAt    int64
	untold    bool // the samples of the poll were left to the end of the link
	answer    *answer
	samples   []driver.Sample // the answer's
	next      func() bool     // goesOn, made once

	// What the call reads, taken under the lock, and what it gives.
	reader     driver.Reader // of a poll or probe
	handle     handle        // of a request
	points     []driver.Point
	opened     driver.Link
	prepared   *preparation
	entries    []driver.Entry
	candidates int
	kept       []byte // also what Open is given
	source     driver.Subscriber
}

// run is the life of a runner. The link waits for it, unless it was abandoned.
func (r *runner) run() {
	l := r.l
	if l.after != nil {
		<-l.after // closed in bounded time
	}
	l.mu.Lock()
	now := l.e.clock.now()
	for {
		j, until := l.pick(now)
		switch j.kind {
		case jobExit:
			l.crew.drop(r)
			l.conn.rest(l.crew.calls())
			last := len(l.crew.runners) == 0
			l.crew.signal()
			l.mu.Unlock()
			if last {
				l.e.links.end(l)
			}
			return
		case jobNone:
			l.conn.rest(l.crew.calls())
			l.crew.wait(now, until)
			now = l.e.clock.now()
		default:
			l.begin(r, j, now)
			if l.crew.idle > 0 {
				l.crew.signal() // another takes the timer, or the next job
			}
			l.mu.Unlock()
			err := r.do()
			if r.points != nil {
				r.logValues(err)
			}
			l.mu.Lock()
			if r.abandoned {
				r.late()
				l.mu.Unlock()
				return
			}
			now = l.finish(r, r.samples, err)
		}
	}
}

// late clears up after an abandoned call that did return, under the link's lock.
func (r *runner) late() {
	crew := &r.l.crew
	crew.abandoned--
	if opened := r.opened; opened != nil {
		crew.lock.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		_ = guard(func() error { return opened.Close(ctx) }) // nobody is left to tell
		cancel()
		crew.lock.Lock()
	}
	crew.signal()
}

// reset makes the runner ready for a call. A reader and a handle that it had are not used.
func (r *runner) reset(j job, s *session, now int64) {
	r.job, r.session, r.running = j, s, true
	r.began = now
	r.hangAt = now + int64(j.limit) + int64(grace)
	r.untold = false
	r.opened, r.prepared, r.entries, r.answer, r.samples, r.points = nil, nil, nil, nil, nil, nil
	r.kept, r.source = nil, nil
}

// do makes the driver call, without the lock. A panic in it is an Internal error.
func (r *runner) do() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	parent := context.Background()
	if r.session != nil && r.job.kind != jobClose && r.job.kind != jobKeep {
		parent = r.session.ctx
	}
	ctx := newDeadline(parent, time.Now().Add(r.job.limit))
	defer ctx.end()
	switch r.job.kind {
	case jobOpen:
		return r.open(ctx)
	case jobClose:
		return r.session.link.Close(ctx)
	case jobKeep:
		r.kept, err = r.session.keeper.Keep(ctx)
		return err
	case jobPrepare:
		return r.prepare(ctx)
	case jobPoll:
		if ahead, ok := r.reader.(driver.AheadReader); ok && r.job.group.grid.Period == 0 {
			return ahead.ReadAhead(ctx, r.points, r.samples, r.next)
		}
		return r.reader.Read(ctx, r.points, r.samples)
	case jobProbe:
		return r.reader.Read(ctx, r.points, r.samples)
	default:
		return r.job.req.run(ctx, r)
	}
}

// goesOn is called by a driver in a poll of a class without a period, and reports
// whether the next job of the link is the same poll again; then it is, whatever comes.
func (r *runner) goesOn() bool {
	l, g := r.l, r.job.group
	l.mu.Lock()
	defer l.mu.Unlock()
	return !r.abandoned && l.current(r) && r.session.window == 1 && l.spec.Gap == 0 &&
		l.roster.agenda.promise(g, l.e.clock.now(), l.e.ring.Full())
}

// guard makes a driver call that may panic.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return call()
}

// A panicError keeps the stack for the log.
type panicError struct {
	fault *driver.Error
	stack []byte
}

func (e *panicError) Error() string { return e.fault.Text }
func (e *panicError) Unwrap() error { return e.fault }

func panicked(p any) error {
	return &panicError{fault: driver.Errorf(driver.Internal, "the driver panicked: %v", p), stack: debug.Stack()}
}

func (r *runner) deviceName() string {
	if r.job.d == nil {
		return ""
	}
	return r.job.d.spec.Name
}

// A deadline is a context that costs no timer unless its Done or Err is asked for:
// most drivers only take the time from it, for a connection's own deadline.
type deadline struct {
	context.Context
	at     time.Time
	mu     sync.Mutex
	armed  context.Context
	cancel context.CancelFunc
	over   bool
}

func newDeadline(parent context.Context, at time.Time) *deadline {
	return &deadline{Context: parent, at: at}
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} { return d.arm().Done() }

func (d *deadline) Err() error { return d.arm().Err() }

// Value goes by the armed context, so that what is derived from this one is
// cancelled by it without a goroutine.
func (d *deadline) Value(key any) any { return d.arm().Value(key) }

func (d *deadline) arm() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed == nil {
		d.armed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.over {
			d.cancel()
		}
	}
	return d.armed
}

// end cancels the context: the call is over.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}
