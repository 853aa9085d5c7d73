package mqtt

import (
	"context"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// subscription is one running Subscribe.
type subscription struct {
	device *device
	ctx    context.Context // of the Subscribe call, and done when it ends; bounds every emit
	cancel func()
	emit   driver.EmitFunc
	wants  map[string]*interest // by filter

	mu    sync.Mutex // held during an emit, so that none outlasts Subscribe
	ended bool

	// Of the dispatcher alone.
	turn  uint64
	batch []driver.PointSample
}

// newSubscription groups the points by their filters.
func newSubscription(ctx context.Context, d *device, points []driver.Point, emit driver.EmitFunc) *subscription {
	ctx, cancel := context.WithCancel(ctx)
	s := &subscription{device: d, ctx: ctx, cancel: cancel, emit: emit, wants: make(map[string]*interest)}
	for _, p := range points {
		c := d.points[p.Index]
		in := s.wants[c.filter]
		if in == nil {
			in = &interest{sub: s}
			s.wants[c.filter] = in
		}
		in.points = append(in.points, c)
	}
	return s
}

// deliver hands samples to the gateway; it waits while the gateway can't take them.
// It fails when the subscription has ended.
func (s *subscription) deliver(samples []driver.PointSample, stored func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return context.Canceled
	}
	return s.emit(s.ctx, samples, stored)
}

// end returns when no emit is running, and none will.
func (s *subscription) end() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// dispatchAll hands on one message after the other, so the messages of a topic stay in order.
func (l *link) dispatchAll(ctx context.Context) {
	if !l.awaitDevices(ctx) {
		return
	}
	x := &dispatcher{link: l}
	for {
		d := l.inflight.next(ctx)
		if d == nil {
			return
		}
		if n := l.inflight.takeDropped(); n > 0 {
			l.log.Warn("messages at QoS 0 were dropped: the gateway took them too slowly", "link", l.name, "count", n)
		}
		x.dispatch(d)
	}
}

// dispatcher holds what dispatch uses again for every message.
type dispatcher struct {
	link *link
	turn uint64
	hits []*interest
	subs []*subscription
}

// dispatch hands the samples of one message to every subscription that wants it.
func (x *dispatcher) dispatch(d *message) {
	x.gather(d)
	if driver.Debugs(x.link.log) {
		x.logReceived(d)
	}
	f := x.link.inflight
	d.parts.Store(int32(len(x.subs)) + 1)
	done := func() {
		if d.parts.Add(-1) == 0 {
			f.store(d)
		}
	}
	var stored func()
	if d.Qos() > 0 {
		stored = done
	}
	taken := true
	for _, s := range x.subs {
		if len(s.batch) == 0 {
			d.parts.Add(-1) // all its points were optional, and not there
		} else if s.deliver(s.batch, stored) != nil {
			if d.Qos() == 0 {
				x.link.tellLost(s.device.name, len(s.batch), d.arrival, whyClosed)
			}
			d.parts.Add(-1)
			taken = taken && x.link.superseded(s)
		}
	}
	switch {
	case d.Qos() == 0:
		f.forget(d)
	case taken:
		f.hand(d)
		done()
	default:
		f.hold(d)
	}
}

// logReceived logs a message for each device that wants it; at least once.
func (x *dispatcher) logReceived(d *message) {
	log := x.link.log.With("topic", d.Topic(), "qos", d.Qos(), "retained", d.Retained())
	if len(x.subs) == 0 {
		driver.LogBytes(log, "received what no point wants", "", d.Payload())
	}
	for _, s := range x.subs {
		driver.LogBytes(log, "received", s.device.name, d.Payload())
	}
}

// gather fills subs with the subscriptions that want d, and their batches.
func (x *dispatcher) gather(d *message) {
	x.link.mu.Lock()
	x.hits = x.link.index.match(d.Topic(), x.hits[:0])
	x.link.mu.Unlock()
	x.turn++
	clear(x.subs)
	x.subs = x.subs[:0]
	content := payload{bytes: d.Payload()}
	tooLong := x.link.tooLong(d)
	for _, in := range x.hits {
		s := in.sub
		if s.turn != x.turn {
			s.turn, s.batch = x.turn, s.batch[:0]
			x.subs = append(x.subs, s)
		}
		for _, p := range in.points {
			sample, ok := driver.Faulted(tooLong), true
			if tooLong == nil {
				sample, ok = p.sample(&content)
			}
			if ok {
				s.device.clock.stamp(&sample, &content, d.arrival)
				s.batch = append(s.batch, driver.PointSample{Point: p.index, Sample: sample})
			}
		}
	}
}

// tooLong is the fault of a payload above the limit: frameConn has cut it.
func (l *link) tooLong(d *message) *driver.Error {
	if len(d.Payload()) <= l.set.MaxPayload {
		return nil
	}
	return driver.Errorf(driver.Protocol, "payload is longer than max_payload, %d bytes", l.set.MaxPayload)
}

// awaitDevices waits until no more devices come. A session that is resumed delivers
// at once what it kept, and a message that came before its device would be taken
// for one that nobody wants. How many devices there will be, a link is not told;
// but the engine prepares them one right after the other.
func (l *link) awaitDevices(ctx context.Context) bool {
	defer close(l.ready)
	quiet := time.NewTimer(firstWithin)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-l.changed:
		}
		l.mu.Lock()
		if l.subscribed {
			quiet.Reset(l.settle)
		}
		l.mu.Unlock()
	}
}
