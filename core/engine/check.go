package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Check proves that a link, or a device of it, works: an off-line link is opened for the
// length of the call, an off-line device is asked beside its neighbours, and what is
// on line is read as Read does. Without a device it is enough that any answers.
func (e *Engine) Check(ctx context.Context, link, device string) error {
	l, err := e.link(link)
	if err != nil {
		return err
	}
	devices, err := l.toTry(device)
	if err != nil {
		return err
	}
	if l.isOffline() {
		return l.try(ctx, devices)
	}
	err = l.askAny(ctx, devices)
	if err != nil && len(devices) > 1 {
		return driver.Errorf(driver.CodeOf(err), "no device of link %s answers; the last one: %w", link, err)
	}
	return err
}

func (l *link) isOffline() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spec.Offline
}

// toTry lists the devices to ask: that of the name, or those on line, or all.
func (l *link) toTry(name string) ([]*device, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "" {
		if d := l.device(name); d != nil {
			return []*device{d}, nil
		}
		return nil, driver.Errorf(driver.NotFound, "link %s has no device %q", l.name, name)
	}
	var online []*device
	for _, d := range l.devices {
		if !d.spec.Offline {
			online = append(online, d)
		}
	}
	if len(online) == 0 {
		online = append(online, l.devices...)
	}
	return online, nil
}

// askAny asks devices of a link that is on line, one after the other, until one
// answers.
func (l *link) askAny(ctx context.Context, devices []*device) (err error) {
	for _, d := range devices {
		if err = l.askOne(ctx, d); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// askOne reads a device that is on line as ever, and goes by its condition where it
// pushes: subscribed to twice, it might end the first. One that is off line is prepared
// for itself.
func (l *link) askOne(ctx context.Context, d *device) error {
	points := firstOf(d)
	l.mu.Lock()
	offline, pushes, status := d.spec.Offline, d.handle.subscriber != nil, d.status
	l.mu.Unlock()
	switch {
	case offline:
		q := &request{kind: askTrial, d: d, points: points}
		err := l.ask(ctx, q)
		if err == nil && q.source != nil {
			err = l.trySubscription(ctx, q)
		}
		return err
	case pushes && status.Condition != control.Up:
		return orUnknown(status.Cause)
	case pushes, len(points) == 0:
		return nil
	}
	q := &request{kind: askRead, d: d, points: points}
	if err := l.ask(ctx, q); err != nil {
		return refusalLives(err)
	}
	return answers(q.samples)
}

func firstOf(d *device) []driver.Point { return d.table.all.points[:min(1, len(d.table.all.points))] }

// trySubscription subscribes on the open link, beside everything else.
func (l *link) trySubscription(ctx context.Context, q *request) error {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		q.session.subs--
		if l.session != q.session { // it had been given up
			l.crew.abandoned--
		}
		l.crew.signal()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.session.ctx, cancel)()
	return trySubscribe(ctx, q.source, q.d.table.all.points, l.spec.Timeout)
}

// A trial has an off-line link open for a while.
type trial struct {
	kept []byte
	left bool // its driver call does not return
}

// try opens an off-line link, asks devices until one answers, and closes it. Nothing
// else opens it meanwhile. A driver that ignores its context is left behind.
func (l *link) try(ctx context.Context, devices []*device) error {
	t, err := l.beginTrial(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := l.run(ctx, t, devices)
		l.endTrial(t)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(keepLimit + closeLimit + grace)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		l.leaveTrial(t)
		return driver.Errorf(driver.Internal, "check link %s: the driver ignores its context", l.name)
	}
}

func (l *link) beginTrial(ctx context.Context) (*trial, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.trial == nil && !l.atRest() {
		l.mu.Unlock()
		err := l.awaitRest(ctx)
		l.mu.Lock()
		if err != nil {
			return nil, driver.Errorf(driver.CodeOf(err), "check link %s: it is still being closed: %w", l.name, err)
		}
	}
	switch {
	case l.trial != nil:
		return nil, driver.Errorf(driver.Busy, "link %s is being checked already", l.name)
	case l.removed, !l.spec.Offline:
		return nil, errChanged
	case l.crew.abandoned >= maxAbandoned:
		return nil, driver.Errorf(driver.Internal, "%d calls for link %s have not returned: restart the driver", l.crew.abandoned, l.name)
	}
	l.trial = &trial{kept: l.kept}
	return l.trial, nil
}

func (l *link) endTrial(t *trial) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.left {
		l.crew.abandoned--
	} else {
		l.trial, l.kept = nil, t.kept
		l.rest()
	}
	l.crew.signal()
}

// leaveTrial gives a trial up whose driver call does not return.
func (l *link) leaveTrial(t *trial) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trial != t {
		return
	}
	t.left = true
	l.trial = nil
	l.crew.abandoned++
	l.rest()
	l.crew.signal()
}

// run makes the driver calls of a trial.
func (l *link) run(ctx context.Context, t *trial, devices []*device) error {
	var opened driver.Link
	err := l.bounded(ctx, max(minOpen, 3*l.spec.Timeout), func(ctx context.Context) (err error) {
		opened, err = l.dial(ctx, t.kept)
		return err
	})
	if err == nil && opened == nil {
		err = driver.Errorf(driver.Internal, "the driver opened nothing and gave no error")
	}
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err = l.tryDevice(ctx, opened, d); err == nil || ctx.Err() != nil {
			break
		}
	}
	background := context.WithoutCancel(ctx)
	if k, ok := opened.(driver.Keeper); ok {
		t.kept = nil
		_ = l.bounded(background, keepLimit, func(ctx context.Context) error { // it only costs what it would keep
			state, err := k.Keep(ctx)
			if err == nil && len(state) <= driver.MaxKept {
				t.kept = state
			}
			return err
		})
	}
	_ = l.bounded(background, closeLimit, opened.Close) // nothing more can be done
	return err
}

func (l *link) tryDevice(ctx context.Context, opened driver.Link, d *device) error {
	var source driver.Subscriber
	err := l.bounded(ctx, 2*l.spec.Timeout, func(ctx context.Context) (err error) {
		source, err = tryOne(ctx, opened, d)
		return err
	})
	if err == nil && source != nil {
		err = trySubscribe(ctx, source, d.table.all.points, l.spec.Timeout)
	}
	return err
}

// bounded makes a driver call. A panic in it is an Internal error.
func (l *link) bounded(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := guard(func() error { return call(ctx) })
	var p *panicError
	if errors.As(err, &p) {
		l.log.Error("driver panicked", "err", p.fault, "stack", string(p.stack))
		return p.fault
	}
	if err == nil {
		return nil
	}
	return driver.AsError(err)
}

// tryOne prepares a device and reads its first point. One that pushes is answered,
// to be subscribed to.
func tryOne(ctx context.Context, wire driver.Link, d *device) (driver.Subscriber, error) {
	opened, err := wire.Device(ctx, driver.DeviceConfig{
		Name: d.spec.Name, Settings: d.spec.Settings, Points: d.table.points,
	})
	if err != nil {
		return nil, err
	}
	points := firstOf(d)
	if len(points) == 0 {
		return nil, nil // there is nothing to ask it for
	}
	if source, ok := opened.(driver.Subscriber); ok {
		return source, nil
	}
	h := handleOf(opened)
	reader, err := h.compile(points)
	if err != nil {
		return nil, err
	}
	if reader == nil {
		return nil, driver.Errorf(driver.Internal, "device %s can neither be read nor subscribed to", d.spec.Name)
	}
	out := make([]driver.Sample, 1)
	if err := reader.Read(ctx, points, out); err != nil {
		return nil, refusalLives(err)
	}
	return nil, answers(out)
}

// answers tells why samples are no answer.
func answers(samples []driver.Sample) error {
	if s := samples[0]; s.Quality == driver.Bad && s.Fault != nil && silence(s.Fault.Code) {
		return s.Fault
	}
	return nil
}

// refusalLives takes what a device that lives may say for an answer.
func refusalLives(err error) error {
	switch driver.CodeOf(err) {
	case driver.Busy, driver.NotFound, driver.BadValue, driver.Denied, driver.Unsupported:
		return nil
	}
	return err
}

// trySubscribe subscribes until something Good has come, or it has lasted for a while.
// What comes is not taken: it comes again.
func trySubscribe(ctx context.Context, source driver.Subscriber, points []driver.Point, while time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, while)
	defer cancel()
	var proven atomic.Bool
	var fault atomic.Pointer[driver.Error]
	emit := func(_ context.Context, samples []driver.PointSample, _ func()) error {
		for i := range samples {
			if samples[i].Quality != driver.Bad {
				proven.Store(true)
				cancel()
				return context.Canceled
			}
			fault.CompareAndSwap(nil, samples[i].Fault)
		}
		return limited.Err()
	}
	err := guard(func() error { return source.Subscribe(limited, points, emit) })
	f := fault.Load()
	switch {
	case proven.Load():
		return nil
	case ctx.Err() != nil:
		return driver.AsError(ctx.Err())
	case limited.Err() == nil: // it ended by itself
		if err == nil {
			err = driver.Errorf(driver.Protocol, "the subscription ended without a reason")
		}
		return driver.AsError(err)
	case f != nil:
		return f
	}
	return nil
}
