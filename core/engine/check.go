package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A checkup is one call of Check. It is a client of its link: it asks what is on line as
// anybody does, and has the wire of a link that is off line for a while.
type checkup struct {
	l    *link
	kept []byte // the driver's own, of an off-line link
	left bool   // its driver call does not return
}

// devices lists the devices to ask, that of the name, or those on line, or all, and reports
// whether the link is off line.
func (c *checkup) devices(name string) (list []*device, offline bool, err error) {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "" {
		if d := l.roster.find(name); d != nil {
			return []*device{d}, l.spec.Offline, nil
		}
		return nil, false, driver.Errorf(driver.NotFound, "link %s has no device %q", l.name, name)
	}
	var online []*device
	for _, d := range l.roster.devices {
		if !d.spec.Offline {
			online = append(online, d)
		}
	}
	if len(online) == 0 {
		online = append(online, l.roster.devices...)
	}
	return online, l.spec.Offline, nil
}

// askAny asks devices of a link that is on line, one after the other, until one
// answers.
func (c *checkup) askAny(ctx context.Context, devices []*device) (err error) {
	for _, d := range devices {
		if err = c.askOne(ctx, d); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// askOne reads a device that is on line as ever, and goes by its condition where it
// pushes: subscribed to twice, it might end the first. One that is off line is prepared
// for itself.
func (c *checkup) askOne(ctx context.Context, d *device) error {
	l, points := c.l, firstOf(d)
	l.mu.Lock()
	offline, pushes, status := d.spec.Offline, d.handle.subscriber != nil, d.status
	l.mu.Unlock()
	switch {
	case offline:
		q := &request{kind: askTrial, d: d, points: points}
		err := l.ask(ctx, q)
		if err == nil && q.source != nil {
			err = c.trySubscription(ctx, q)
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
func (c *checkup) trySubscription(ctx context.Context, q *request) error {
	l := c.l
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		q.session.subs--
		if l.conn.session != q.session { // it had been given up
			l.crew.abandoned--
		}
		l.crew.signal()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.session.ctx, cancel)()
	return trySubscribe(ctx, q.source, q.d.table.all.points, l.spec.Timeout)
}

// try opens an off-line link, asks devices until one answers, and closes it. Nothing
// else opens it meanwhile. A driver that ignores its context is left behind.
func (c *checkup) try(ctx context.Context, devices []*device) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := c.run(ctx, devices)
		c.end()
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
		c.leave()
		return driver.Errorf(driver.Internal, "check link %s: the driver ignores its context", c.l.name)
	}
}

// begin takes the wire, as soon as nothing is open.
func (c *checkup) begin(ctx context.Context) error {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.conn.checkup == nil && !l.conn.atRest(l.crew.calls()) {
		l.mu.Unlock()
		err := l.awaitRest(ctx)
		l.mu.Lock()
		if err != nil {
			return driver.Errorf(driver.CodeOf(err), "check link %s: it is still being closed: %w", l.name, err)
		}
	}
	switch {
	case l.conn.checkup != nil:
		return driver.Errorf(driver.Busy, "link %s is being checked already", l.name)
	case l.conn.removed, !l.spec.Offline:
		return errChanged
	case l.crew.abandoned >= maxAbandoned:
		return driver.Errorf(driver.Internal, "%d calls for link %s have not returned: restart the driver", l.crew.abandoned, l.name)
	}
	l.conn.checkup, c.kept = c, l.custody.kept
	return nil
}

// end gives the wire back.
func (c *checkup) end() {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.left {
		l.crew.abandoned--
	} else {
		l.conn.checkup, l.custody.kept = nil, c.kept
		l.conn.rest(l.crew.calls())
	}
	l.crew.signal()
}

// leave gives the wire back although a driver call does not return.
func (c *checkup) leave() {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn.checkup != c {
		return
	}
	c.left = true
	l.conn.checkup = nil
	l.crew.abandoned++
	l.conn.rest(l.crew.calls())
	l.crew.signal()
}

// run makes the driver calls on an off-line link.
func (c *checkup) run(ctx context.Context, devices []*device) error {
	var opened driver.Link
	err := c.bounded(ctx, max(minOpen, 3*c.l.spec.Timeout), func(ctx context.Context) (err error) {
		opened, err = c.l.dialer.open(ctx, c.kept)
		return err
	})
	if err == nil && opened == nil {
		err = driver.Errorf(driver.Internal, "the driver opened nothing and gave no error")
	}
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err = c.tryDevice(ctx, opened, d); err == nil || ctx.Err() != nil {
			break
		}
	}
	background := context.WithoutCancel(ctx)
	if k, ok := opened.(driver.Keeper); ok {
		c.kept = nil
		_ = c.bounded(background, keepLimit, func(ctx context.Context) error { // it only costs what it would keep
			state, err := k.Keep(ctx)
			if err == nil && len(state) <= driver.MaxKept {
				c.kept = state
			}
			return err
		})
	}
	_ = c.bounded(background, closeLimit, opened.Close) // nothing more can be done
	return err
}

func (c *checkup) tryDevice(ctx context.Context, opened driver.Link, d *device) error {
	var source driver.Subscriber
	err := c.bounded(ctx, 2*c.l.spec.Timeout, func(ctx context.Context) (err error) {
		source, err = tryOne(ctx, opened, d)
		return err
	})
	if err == nil && source != nil {
		err = trySubscribe(ctx, source, d.table.all.points, c.l.spec.Timeout)
	}
	return err
}

// bounded makes a driver call. A panic in it is an Internal error.
func (c *checkup) bounded(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := guard(func() error { return call(ctx) })
	var p *panicError
	if errors.As(err, &p) {
		c.l.log.Error("driver panicked", "err", p.fault, "stack", string(p.stack))
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

// answers returns why samples are no answer.
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
