package supervise

import (
	"context"
	"fmt"
	"time"

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

	// reattach is the pause between attempts to attach, and reattachLimit how long
	// they are made before the process is given up.
	reattach      = 100 * time.Millisecond
	reattachLimit = 5 * time.Second
)

var (
	errSilent  = fmt.Errorf("no heartbeat for %v: it hangs, and is killed", heartbeatLimit)
	errStalled = fmt.Errorf("its engine has made no progress for %d s although its heartbeats go on: it hangs, and is killed; "+
		"a driver that once told progress has to send a greater Heartbeat.progress every second, also on standby and when nothing is due", stallBeats)
)

// stream is the telemetry stream of one process: it is opened again where it breaks, and the
// process is killed where that, or its silence, is hopeless. The pool's mu guards it.
type stream struct {
	life *life // constant

	attachment Attachment  // nil: not attached
	broken     Attachment  // to be closed before the next
	attached   bool        // was, at least once
	doubted    bool        // it was silent at the last look
	brokeAt    time.Time   // since when it is not attached any more
	retryAt    time.Time   // when an attempt that failed is to be repeated; zero: none is
	breaks     []time.Time // of its streams, the latest
}

// isDue reports whether the stream is not open, and it is time to open it.
func (s *stream) isDue() bool {
	return s.attachment == nil && s.life.m.pool.in.spool != nil && time.Until(s.retryAt) <= 0
}

// attach opens the stream. An attempt that failed is repeated, until the process is
// given up.
func (s *stream) attach() {
	l, p := s.life, s.life.m.pool
	var a Attachment
	broken := s.broken
	hello := host.Hello{CoreEpoch: p.s.o.CoreEpoch, ProcessEpoch: l.intake.epoch, Frames: creditFrames, Bytes: creditBytes,
		ResumeAfter: p.in.spool.MarkOf(p.driver, l.intake.epoch)}
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
			s.broken = nil
			s.opened(a)
		case !s.attached, time.Since(s.brokeAt) >= reattachLimit:
			l.kill(err)
		default:
			s.broken = nil
			s.retryAt = time.Now().Add(reattach)
		}
	})
}

// opened takes a into use. Frames may have been stored before Attach returned:
// they are acknowledged now.
func (s *stream) opened(a Attachment) {
	p := s.life.m.pool
	s.attachment, s.attached = a, true
	s.retryAt = time.Time{}
	s.life.intake.frames.acknowledgeBy(a)
	p.work.Go(func() {
		<-a.Done()
		p.do(func() { s.broke(a) })
	})
}

// broke is the end of a stream.
func (s *stream) broke(a Attachment) {
	l := s.life
	if s.attachment != a || l.over || l.killed {
		return
	}
	if s.doubted && l.intake.vitals.silentFor(heartbeatLimit*3/4) { // the stream has ended for just that
		l.kill(errSilent)
		return
	}
	now := time.Now()
	s.breaks = append(s.breaks[max(0, len(s.breaks)-maxBreaks+1):], now)
	if len(s.breaks) == maxBreaks && now.Sub(s.breaks[0]) < breaksWithin {
		l.kill(fmt.Errorf("its telemetry stream broke %d times within %v, and it is killed; the last time: %w", maxBreaks, breaksWithin, a.Err()))
		return
	}
	if !isDone(l.proc.Done()) {
		l.m.log().Warn("the telemetry stream broke; attaching again", "err", a.Err())
	}
	l.intake.frames.acknowledgeBy(nil)
	s.attachment, s.broken, s.brokeAt = nil, a, now
}

// judge kills a process that hangs. It believes a silence at the second look only: a core
// that was stopped itself, and goes on, is to take in first what came meanwhile.
func (s *stream) judge() {
	l, vitals := s.life, &s.life.intake.vitals
	doubted := s.doubted
	s.doubted = vitals.silentFor(heartbeatLimit / 2)
	switch {
	case s.attachment == nil || l.over || l.killed:
	case doubted && vitals.silentFor(heartbeatLimit):
		l.kill(errSilent)
	case vitals.isStalled():
		l.kill(errStalled)
	}
}

// stop has nothing acknowledged any more. What it returns closes the stream, which takes its
// time: no frame comes after that.
func (s *stream) stop() (closeAll func()) {
	a, broken := s.attachment, s.broken
	s.life.intake.frames.acknowledgeBy(nil)
	return func() {
		for _, each := range []Attachment{a, broken} {
			if each != nil {
				_ = each.Close() // it is over either way
			}
		}
	}
}
