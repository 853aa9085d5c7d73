package simulator

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// minEvery is the shortest period of a message: a roster looks once a beat.
const minEvery = beat

// broker is an MQTT broker and the devices that publish on it.
//
// The devices are no clients: what they send is handed to the broker in the process, under
// publishing, so that it is known of each message which sessions took it. What could be lost
// between a device and a broker is not the point; between the broker and its subscribers
// nothing may be lost unseen.
type broker struct {
	*port
	server *Server
	core   *mqtt.Server
	hook   *hook
	duties roster
	sets   map[string]target

	publishing sync.Mutex // a message is handed out while no session is taken over
	published  atomic.Uint64
	unheard    atomic.Uint64
	stray      atomic.Uint64
	held       atomic.Bool // refusing: there is no broker to publish to

	stop context.CancelFunc
	done sync.WaitGroup
}

// target is the point that a topic sets.
type target struct {
	device *Device
	point  int
}

func newBroker(srv *Server, c *ServerConfig) (*broker, error) {
	b := &broker{server: srv, sets: make(map[string]target)}
	b.port = newPort(c.Listen, b.serve)
	for i, d := range srv.devices {
		if err := b.add(d, &c.Devices[i]); err != nil {
			return nil, &deviceError{d.name, err}
		}
	}
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClientWritesPending = math.MaxUint16 // as many as there are packet ids
	limits.MaximumInflight = math.MaxUint16
	limits.MaximumMessageExpiryInterval = 0 // never
	b.core = mqtt.New(&mqtt.Options{Capabilities: limits, InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	b.hook = newHook(b)
	if err := b.core.AddHook(b.hook, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

// add makes the duties and set topics of a device.
func (b *broker) add(d *Device, c *DeviceConfig) error {
	p, err := newPoints(c.Points)
	if err != nil {
		return err
	}
	d.store = p
	for _, pub := range c.Publish {
		duty, err := newPublication(d, p, pub)
		if err != nil {
			return err
		}
		b.duties = append(b.duties, duty)
	}
	if c.Set == "" {
		return nil
	}
	for i := range p.list {
		if !p.list[i].Writable {
			continue
		}
		topic := strings.NewReplacer("{device}", d.name, "{point}", p.list[i].Name).Replace(c.Set)
		if other, double := b.sets[topic]; double || !mqtt.IsValidFilter(topic, true) {
			return fmt.Errorf("set topic %q is no topic, or set by %v already", topic, other.device)
		}
		b.sets[topic] = target{d, i}
	}
	return nil
}

func newPublication(d *Device, p *points, pub Publication) (*duty, error) {
	topic := strings.ReplaceAll(pub.Topic, "{device}", d.name)
	if topic == "" || !mqtt.IsValidFilter(topic, true) || strings.ContainsAny(topic, "+#{}") {
		return nil, fmt.Errorf("topic %q cannot be published on", topic)
	}
	if pub.QoS > 1 {
		return nil, fmt.Errorf("topic %q: qos is 0 or 1", topic)
	}
	every := pub.Every
	if every == 0 {
		every = time.Second
	}
	if every < minEvery {
		return nil, fmt.Errorf("topic %q: a period is at least %v", topic, minEvery)
	}
	text := jsonTemplate(p)
	if pub.Payload != "" {
		var err error
		if text, err = parseTemplate(pub.Payload, d.name, p); err != nil {
			return nil, err
		}
	}
	return &duty{device: d, text: text, topic: topic, qos: pub.QoS, retain: pub.Retain, every: every}, nil
}

func (b *broker) open() error {
	if err := b.port.open(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.done.Go(func() { b.duties.run(ctx, b.publish) })
	return nil
}

func (b *broker) addr() string { return "tcp://" + b.port.addr() }

// serve gives a connection to the broker until it ends.
func (b *broker) serve(c net.Conn) {
	w := newWire(c, b.server, b.port.done)
	defer w.Close()
	// The error is the client's: it is closed then, and the witness counts what matters.
	_ = b.core.EstablishConnection(b.server.name, w)
	b.hook.left(w)
}

// publish sends one message of a device, unless the device or the broker is away: then there is
// no message, and its slot value is not used.
func (b *broker) publish(d *duty) {
	fault := d.device.current()
	if b.held.Load() || fault != nil && fault.Kind == Silent {
		return
	}
	b.publishing.Lock()
	defer b.publishing.Unlock()
	payload, slot := d.render(fault)
	handed := b.hook.handed.Load()
	d.device.sent(slot, time.Now(), len(payload))
	if err := b.core.Publish(d.topic, payload, d.retain, d.qos); err != nil {
		d.device.unsent(slot)
		return
	}
	b.published.Add(1)
	if b.hook.handed.Load() == handed {
		b.unheard.Add(1)
	}
}

// refuse stops the broker for the clients, and waits until the last of them is gone: a session
// is then nobody's.
func (b *broker) refuse() error {
	b.held.Store(true)
	err := b.port.refuse()
	b.idle()
	return err
}

func (b *broker) admit() error {
	err := b.port.admit()
	b.held.Store(err != nil)
	return err
}

func (b *broker) close() error {
	if b.stop != nil {
		b.stop()
	}
	err := b.port.close()
	b.done.Wait()
	return err
}

func (b *broker) counts(c *ServerCounts) {
	b.port.counts(c)
	c.Stray = b.stray.Load()
	c.Broker = &BrokerCounts{
		Published: b.published.Load(),
		Handed:    b.hook.handed.Load(),
		Unheard:   b.unheard.Load(),
		Acked:     b.hook.acked.Load(),
		Dropped:   uint64(atomic.LoadInt64(&b.core.Info.MessagesDropped) + atomic.LoadInt64(&b.core.Info.InflightDropped)),
		Sessions:  b.core.Clients.Len() - 1, // the inline client is none
	}
}

// render makes a message's payload, and gives out its slot value when it has one and is not spoilt.
func (d *duty) render(fault *Fault) (payload []byte, slot uint64) {
	dev := d.device
	dev.mu.Lock()
	defer dev.mu.Unlock()
	at := dev.moment()
	at.slot++
	payload = d.text.render(nil, dev.store.(*points), at)
	switch {
	case fault != nil && fault.Kind == Garbage:
		noise(payload, at.slot)
	case fault != nil && fault.Kind == Cut:
		payload = payload[:len(payload)/2]
	case d.text.slot && !fault.spoils():
		slot = dev.tally.issue()
	}
	return payload, slot
}

// sent counts a message or an answer that was due, or asked for, at a time. It is called just
// before the last byte is out of hand, so that whoever has the message finds it counted.
func (d *Device) sent(slot uint64, asked time.Time, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.answers++
	d.tally.bytesOut += uint64(size)
	if slot != 0 {
		d.tally.served(d.server.sim.started, asked, d.server.sim.times)
	}
}

// unsent takes back what sent counted.
func (d *Device) unsent(slot uint64) {
	d.mu.Lock()
	d.tally.answers--
	if slot != 0 {
		d.tally.unserve()
	}
	d.mu.Unlock()
	d.failed(slot)
}

// failed takes back the slot value of a message that could not be sent.
func (d *Device) failed(slot uint64) {
	if slot == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.withdraw(slot)
}

// receive is a message on a set topic.
func (b *broker) receive(topic string, payload []byte) {
	to, ok := b.sets[topic]
	if !ok {
		return
	}
	d := to.device
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.requests++
	d.tally.bytesIn += uint64(len(payload))
	if f := d.current(); f != nil && f.Kind == Silent {
		return
	}
	p := d.store.(*points)
	v, err := p.write(to.point, string(payload), d.moment())
	if err != nil {
		b.stray.Add(1)
		return
	}
	d.tally.wrote(Write{Time: time.Now(), Point: p.list[to.point].Name, Value: v.Any()})
}
