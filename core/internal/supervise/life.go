package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

const (
	creditFrames = 4096    // in flight and not stored
	creditBytes  = 4 << 20 // the same in bytes: what one process can make the core hold

	// heartbeatLimit is how long a process may be silent; its heartbeats come once
	// a second. Its engine counts progress twice a second: stallBeats of them without
	// any are ten seconds, and the engine itself gives a poll ten before it counts as
	// left alone.
	heartbeatLimit = 5 * time.Second
	stallBeats     = 10

	// A stream on a local socket does not break by itself. One that breaks whenever it
	// was opened does so at the same frame, which nobody can take.
	maxBreaks    = 5
	breaksWithin = time.Minute
)

// abilityLinks is what a driver announces that takes its links one by one.
const abilityLinks = "links"

var (
	errSilent  = fmt.Errorf("no heartbeat for %v: it hangs, and is killed", heartbeatLimit)
	errStalled = fmt.Errorf("its engine has made no progress for %d s although its heartbeats go on: it hangs, and is killed; "+
		"a driver that once told progress has to send a greater Heartbeat.progress every second, also on standby and when nothing is due", stallBeats)
)

// life is one process, from its launch to its end. Its pool's mu guards what is not
// of the intake.
type life struct {
	m       *member
	proc    Process
	epoch   uint64
	version string
	hash    string
	whole   bool // it takes all of its links or none
	started time.Time

	detached bool
	adopted  bool
	next     bool          // with adopted: its version was not in force yet
	claimed  bool          // with adopted: it is known which links it has
	recorded string        // the path of its record; "": none
	written  chan struct{} // closed when the record is written; nil: it was by an earlier core
	busy     bool          // an operation is in hand
	killed   bool
	retiring bool          // it is being drained to be stopped, or let go
	over     bool          // the process is dead, or going
	gone     chan struct{} // closed with over
	cause    error         // why it was killed

	recording bool // the first attempt to write the record is in hand

	holds     int            // links; see link.give
	applied   *control.State // what it was given last, wholly
	appliedAt time.Time
	parts     bool                     // its state may come in parts
	unknown   bool                     // with parts: it has a state of an earlier core
	taken     view                     // that it has been given all of
	trimmed   view                     // the view by which it has nothing that others have
	accepted  bool                     // a state
	pace      int                      // links of a step
	pending   int                      // links that it is still to be given
	opening   int                      // links of the activation in hand
	has       map[string]*control.Link // the links that it accepted last
	refused   string                   // why it refused the state that it was given last

	attachment Attachment  // nil: not attached
	broken     Attachment  // to be closed before the next
	attached   bool        // was, at least once
	doubted    bool        // it was silent at the last look
	brokeAt    time.Time   // since when it is not attached any more
	breaks     []time.Time // of its streams, the latest

	intake  intake
	backlog uint64 // the sequence up to which it had frames when it was adopted
}

func newLife(m *member, proc Process, image Image) *life {
	d := proc.Description()
	l := &life{m: m, proc: proc, epoch: d.ProcessEpoch, version: d.Version, started: time.Now(),
		whole: !slices.Contains(d.Abilities, abilityLinks), pace: firstPace,
		gone: make(chan struct{}), brokeAt: time.Now()}
	if image != nil {
		l.version, l.hash = image.Version(), image.Hash()
	}
	l.parts = !l.whole && slices.Contains(d.Abilities, abilityParts)
	m.began = l.started
	l.intake.open(m.pool.in, l, l.epoch)
	return l
}

// operate runs one operation of the life, and then after with the lock held, unless
// the life is over by then.
func (l *life) operate(limit time.Duration, f func(ctx context.Context) error, after func(error)) {
	p := l.m.pool
	l.busy = true
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.hurry, limit)
		defer cancel()
		err := f(ctx)
		p.do(func() {
			l.busy = false
			if !l.over && !isDone(l.proc.Done()) {
				after(err)
			}
		})
	})
}

// held is how many links the life holds.
func (l *life) held() int { return l.holds }

// setRefused notes that the process refused a state that it had found valid.
func (l *life) setRefused(faults []*driver.ConfigError, want *control.State) {
	f := faults[0]
	l.refused = fmt.Sprintf("revision %d refused: %d faults, the first in %s/%s/%s: %s", want.Revision, len(faults), f.Link, f.Device, f.Point, f.Text)
	l.m.log().Error("driver refused its configuration", "err", l.refused)
}

// mayAttach tells that the stream is not open, and that it is time to open it.
func (l *life) mayAttach() bool {
	return l.attachment == nil && l.m.pool.s.o.Spool != nil && time.Until(l.m.reattachAt) <= 0
}

// attach opens the stream. An attempt that failed is repeated, until the process is
// given up.
func (l *life) attach() {
	m, p := l.m, l.m.pool
	var a Attachment
	broken := l.broken
	hello := host.Hello{CoreEpoch: p.s.o.CoreEpoch, ProcessEpoch: l.epoch, Frames: creditFrames, Bytes: creditBytes,
		ResumeAfter: p.s.o.Spool.MarkOf(p.kind, l.epoch)}
	l.operate(attachLimit+time.Second, func(ctx context.Context) (err error) {
		if broken != nil {
			_ = broken.Close() // it is over either way
		}
		ctx, cancel := context.WithTimeout(ctx, attachLimit)
		defer cancel()
		l.intake.vitals.hear()
		l.intake.frames.floor.Store(hello.ResumeAfter)
		a, err = l.proc.Attach(ctx, hello, &l.intake)
		return err
	}, func(err error) {
		switch {
		case err == nil:
			l.broken = nil
			l.opened(a)
		case !l.attached, time.Since(l.brokeAt) >= reattachLimit:
			l.kill(err)
		default:
			l.broken = nil
			m.reattachAt = time.Now().Add(reattach)
		}
	})
}

// opened takes a into use. Frames may have been stored before Attach returned:
// they are acknowledged now.
func (l *life) opened(a Attachment) {
	p := l.m.pool
	l.attachment, l.attached = a, true
	l.m.reattachAt = time.Time{}
	l.intake.frames.acknowledgeBy(a)
	p.work.Go(func() {
		<-a.Done()
		p.do(func() { l.broke(a) })
	})
}

// broke is the end of a stream.
func (l *life) broke(a Attachment) {
	if l.attachment != a || l.over || l.killed {
		return
	}
	if l.doubted && l.intake.vitals.silentFor(heartbeatLimit*3/4) { // the stream has ended for just that
		l.kill(errSilent)
		return
	}
	now := time.Now()
	l.breaks = append(l.breaks[max(0, len(l.breaks)-maxBreaks+1):], now)
	if len(l.breaks) == maxBreaks && now.Sub(l.breaks[0]) < breaksWithin {
		l.kill(fmt.Errorf("its telemetry stream broke %d times within %v, and it is killed; the last time: %w", maxBreaks, breaksWithin, a.Err()))
		return
	}
	if !isDone(l.proc.Done()) {
		l.m.log().Warn("the telemetry stream broke; attaching again", "err", a.Err())
	}
	l.intake.frames.acknowledgeBy(nil)
	l.attachment, l.broken, l.brokeAt = nil, a, now
}

// judge kills a process that hangs. It believes a silence at the second look only: a core
// that was stopped itself, and goes on, is to take in first what came meanwhile.
func (l *life) judge() {
	doubted := l.doubted
	l.doubted = l.intake.vitals.silentFor(heartbeatLimit / 2)
	switch {
	case l.attachment == nil || l.over || l.killed:
	case doubted && l.intake.vitals.silentFor(heartbeatLimit):
		l.kill(errSilent)
	case l.intake.vitals.isStalled():
		l.kill(errStalled)
	}
}

// kill ends a process that is of no use any more. What follows comes with its
// death.
func (l *life) kill(cause error) {
	p := l.m.pool
	if l.killed || l.over || p.demand.letsGo() && l.detached {
		return // the last is let go as it is, and the next core judges it
	}
	l.killed, l.cause = true, cause
	p.work.Go(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.proc.Stop(now); err != nil {
			l.m.pool.log.Error("kill a driver process", "err", err)
			p.do(l.ended) // it cannot be waited for
		}
	})
}

// ended is the death of the process.
func (l *life) ended() {
	if l.over {
		return
	}
	m, p := l.m, l.m.pool
	l.over = true
	close(l.gone)
	cause := l.cause
	exit := l.proc.Exit()
	switch {
	case cause == nil:
		cause = fmt.Errorf("driver %s (pid %d): %s", p.kind, l.proc.PID(), exit)
	case !errors.Is(cause, errUpgrade):
		cause = fmt.Errorf("driver %s (pid %d): %w", p.kind, l.proc.PID(), cause)
	}
	m.tail = exit.Stderr
	m.life = nil
	wasActive := l.held() > 0
	p.bury(l, false, func() {
		switch {
		case (l.attached || l.adopted) && l.held() > 0:
			p.losses.bury(l, cause)
		case l.adopted && !l.claimed:
			p.losses.absent(p.s.o.LastRun, cause.Error())
		}
	})
	m.fall(cause, true, wasActive)
}

// bury frees the links of a process that is dead, and waits until nothing is left of it;
// one that is not dead is ended before. To wait first would cost every takeover
// what the kernel takes to close an inotify: 12 ms, and now and then 300. With kill it is not
// asked to end.
func (p *pool) bury(l *life, kill bool, and func()) {
	p.dying++
	a, broken := l.attachment, l.broken
	l.intake.frames.acknowledgeBy(nil)
	free := func() {
		and()
		p.links.free(l)
	}
	p.work.Go(func() {
		for _, stream := range []Attachment{a, broken} {
			if stream != nil {
				_ = stream.Close() // it is over either way; no frame comes after that
			}
		}
		dead := isDone(l.proc.Done()) // its files are closed then, and its children killed
		if dead {
			p.do(free)
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if kill {
			cancel()
		}
		if err := l.proc.Stop(ctx); err != nil {
			p.log.Warn("stop a driver process", "err", err)
		}
		l.removeRecord()
		p.do(func() {
			p.dying--
			if !dead {
				free()
			}
		})
	})
}
