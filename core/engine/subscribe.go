package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A subscription is the goroutine that is inside a Subscribe of one device, in
// one session. The session waits for it.
type subscription struct {
	l       *link
	d       *device
	session *session
	source  driver.Subscriber
	ctx     context.Context
	cancel  context.CancelFunc
	ended   bool
}

// subscribe starts a subscription in the present session, under the link's lock.
func subscribe(l *link, d *device) {
	s := l.conn.session
	sub := &subscription{l: l, d: d, session: s, source: d.handle.subscriber}
	sub.ctx, sub.cancel = context.WithCancel(s.ctx)
	d.sub = sub
	s.subs++
	l.roster.conditions.setPushes(d, true)
	l.roster.conditions.setDevice(d, control.Connecting, nil)
	go sub.run()
}

func (sub *subscription) run() {
	defer sub.end()
	for {
		err := sub.once()
		wait, again := sub.settle(err)
		if !again {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-sub.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// once runs Subscribe to its end. What is emitted after that is refused.
func (sub *subscription) once() error {
	var over atomic.Bool
	defer over.Store(true)
	defer time.AfterFunc(sub.l.spec.Timeout, func() { sub.settled(&over) }).Stop()
	emit := func(ctx context.Context, samples []driver.PointSample, stored func()) error {
		if over.Load() {
			return driver.Errorf(driver.Internal, "emit after Subscribe has returned")
		}
		return sub.emit(ctx, samples, stored)
	}
	return guard(func() error { return sub.source.Subscribe(sub.ctx, sub.d.table.all.points, emit) })
}

func (sub *subscription) end() {
	sub.cancel()
	l := sub.l
	l.mu.Lock()
	defer l.mu.Unlock()
	sub.ended = true
	sub.session.subs--
	if l.conn.session != sub.session { // it had been given up
		l.crew.abandoned--
	}
	l.crew.signal()
}

// settle does what the code of an ended subscription says, and reports whether and when to
// subscribe again.
func (sub *subscription) settle(err error) (wait time.Duration, again bool) {
	l, d := sub.l, sub.d
	l.mu.Lock()
	defer l.mu.Unlock()
	if sub.ctx.Err() != nil || d.gone || l.conn.session != sub.session || sub.session.broken || !l.conn.active {
		return 0, false
	}
	fault := l.panics.fault(err, d.spec.Name)
	if fault == nil {
		fault = driver.Errorf(driver.Protocol, "the subscription ended without a reason")
	}
	switch fault.Code {
	case driver.NotConnected, driver.Internal:
		l.breakSession(fault, nil)
		return 0, false
	case driver.Unsupported:
		if d.handle.reader != nil || d.handle.preparer != nil {
			l.roster.scan(d, l.e.clock.now())
			return 0, false
		}
		fallthrough
	case driver.InvalidConfig:
		d.stopped = true
		l.roster.conditions.setDevice(d, control.Stopped, fault)
		l.e.outlet.bad(d, fault, nil)
		return 0, false
	case driver.Busy:
		if wait = min(fault.After, maxBusy); wait <= 0 {
			wait = defaultBusy
		}
	default:
		wait = d.health.resubscribe()
	}
	d.tries.failed++
	l.log.Debug("subscription ended", "device", d.spec.Name, "code", fault.Code.String(), "err", fault)
	l.roster.conditions.setDevice(d, control.Down, fault)
	l.e.outlet.bad(d, fault, nil)
	return wait, true
}

// settled notes that a subscription holds: it has lasted for a time-out.
func (sub *subscription) settled(over *atomic.Bool) {
	l := sub.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if !over.Load() && sub.ctx.Err() == nil && !sub.d.gone && l.conn.session == sub.session {
		l.answered(sub.d, nil)
	}
}

// emit takes pushed samples. It checks them as what comes from outside.
func (sub *subscription) emit(ctx context.Context, samples []driver.PointSample, stored func()) error {
	l, d := sub.l, sub.d
	sub.logPushed(samples)
	points := &set{class: -1, index: make([]uint32, len(samples))}
	values := make([]driver.Sample, len(samples))
	policy := control.Latest
	for i, s := range samples {
		if s.Point < 0 || s.Point >= len(d.table.points) {
			return driver.Errorf(driver.Internal, "device %s has no point with the index %d", d.spec.Name, s.Point)
		}
		points.index[i], values[i] = uint32(s.Point), s.Sample
		if p := l.spec.Classes[d.table.config.Points[s.Point].Class].Policy; p != control.Latest {
			policy = control.Slow
		}
	}
	if policy != control.Latest {
		if err := l.e.ring.WaitRoom(ctx, sub.ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := sub.ctx.Err(); err != nil || d.gone || l.conn.session != sub.session {
		return driver.Errorf(driver.NotConnected, "the subscription of device %s has ended: %w", d.spec.Name, context.Canceled)
	}
	l.answered(d, nil)
	l.e.outlet.pushed(d, points, values, policy, stored)
	return nil
}
