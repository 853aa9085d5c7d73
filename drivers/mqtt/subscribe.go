package mqtt

import (
	"context"
	"maps"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/core/driver"
)

// filter is one subscription at the broker, shared by all points that name it.
type filter struct {
	name    string
	qos     byte
	waiting bool        // in link.pending
	wants   []*interest // of running subscriptions
}

// subscribeBatch is how many filters one SUBSCRIBE asks for: no known broker takes fewer
// (AWS IoT takes 8).
const subscribeBatch = 8

// enlist adds a subscription to the index and sends its filters to the broker.
func (l *link) enlist(s *subscription) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subscribed = true
	l.owners[s.device.name] = s.device
	if !l.dismiss(s.device.name) {
		err := driver.Errorf(driver.NotConnected, "device %s subscribes again: the connection is ended "+
			"so that the broker sends what came meanwhile", s.device.name)
		l.drop(err)
		s.cancel()
		return err
	}
	for name, in := range s.wants {
		l.index.add(name, in)
		f := l.filters[name]
		if f == nil {
			f = &filter{name: name}
			l.filters[name] = f
		}
		f.wants = append(f.wants, in)
		f.qos = max(f.qos, s.device.qos)
		// A filter that is there already is asked for once more, because only then
		// does the broker send retained messages for the new points.
		if !f.waiting {
			f.waiting = true
			l.pending = append(l.pending, f)
		}
	}
	poke(l.changed)
	return nil
}

// retire ends a subscription. It stays in the index, so that its messages are known and stay
// unacknowledged: when the gateway stops or reopens the link, they are still the broker's. It
// does not unsubscribe for the same reason. But what has a successor goes.
func (l *link) retire(s *subscription) {
	s.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, in := range s.wants {
		f := l.filters[name]
		f.wants = slices.DeleteFunc(f.wants, func(other *interest) bool { return other == in })
	}
	if l.owners[s.device.name] == s.device {
		l.ended[s.device.name] = append(l.ended[s.device.name], s)
		return
	}
	l.forget(s)
}

// superseded reports whether another device has taken the name of the subscription's, which
// happens when the configuration changes while the link is open.
func (l *link) superseded(s *subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owners[s.device.name] != s.device
}

// dismiss takes the ended subscriptions of a device out of the index. It reports
// false if messages are held, which may be for them.
func (l *link) dismiss(device string) bool {
	ended := l.ended[device]
	delete(l.ended, device)
	for _, s := range ended {
		l.forget(s)
	}
	return len(ended) == 0 || !l.inflight.holds()
}

func (l *link) forget(s *subscription) {
	for name, in := range s.wants {
		l.index.remove(name, in)
	}
}

// subscribeAll sends the filters to the broker, as subscriptions ask for them.
func (l *link) subscribeAll(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-l.ready: // so that a filter that devices share is sent once
	}
	for {
		batch := l.nextFilters()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.lost:
				return
			case <-l.changed:
				continue
			}
		}
		err := l.ask(ctx, batch)
		if ctx.Err() != nil {
			return // closed, and acknowledgements may still be on their way
		}
		if err != nil {
			l.drop(err)
			return
		}
	}
}

// nextFilters takes filters of one SUBSCRIBE from those that wait.
func (l *link) nextFilters() map[string]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(subscribeBatch, len(l.pending))
	batch := make(map[string]byte, n)
	for _, f := range l.pending[:n] {
		f.waiting = false
		batch[f.name] = f.qos
	}
	l.pending = l.pending[n:]
	return batch
}

// ask sends one SUBSCRIBE and waits for its SUBACK.
func (l *link) ask(ctx context.Context, batch map[string]byte) error {
	if driver.Debugs(l.log) {
		l.log.Debug("sent a subscription", "filters", slices.Sorted(maps.Keys(batch)))
	}
	l.conn.granted.Store(int32(len(batch)))
	token := l.client.SubscribeMultiple(batch, nil)
	limit := time.NewTimer(max(l.timeout, time.Second))
	defer limit.Stop()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return ctx.Err()
	case <-l.lost:
		return l.cause()
	case <-limit.C:
		return driver.Errorf(driver.NotConnected, "subscribe: no acknowledgement from the broker in time")
	}
	if err := token.Error(); err != nil {
		return driver.Errorf(driver.NotConnected, "subscribe: %w", err)
	}
	for name, granted := range token.(*paho.SubscribeToken).Result() {
		l.granted(name, batch[name], granted)
	}
	return nil
}

// granted takes the broker's answer for one filter (clause 3.9.3).
func (l *link) granted(name string, asked, granted byte) {
	l.mu.Lock()
	f := l.filters[name]
	wants := slices.Clone(f.wants)
	l.mu.Unlock()
	if granted <= 2 {
		if granted < asked {
			l.log.Warn("the broker grants less than was asked for", "link", l.name, "filter", name, "asked", asked, "granted", granted)
		}
		return
	}
	fault := driver.Errorf(driver.Denied, "the broker refuses the subscription to %q", name)
	for _, in := range wants {
		samples := make([]driver.PointSample, len(in.points))
		for i, p := range in.points {
			samples[i] = driver.PointSample{Point: p.index, Sample: driver.Faulted(fault)}
		}
		// It fails only when the subscription has ended, and then nobody asks.
		_ = in.sub.deliver(samples, nil)
	}
}
