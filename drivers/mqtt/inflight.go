package mqtt

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// message is one delivery of the broker, from its arrival to its acknowledgement.
type message struct {
	paho.Message
	arrival time.Time
	size    int
	parts   atomic.Int32 // samples to be stored, and one while it is dispatched

	// Guarded by inflight.mu.
	handed bool // all its samples were handed to the gateway
	stored bool // and are on disk
	held   bool // it was for a subscription that has ended: it stays unacknowledged
}

// inflight holds every message that the link has taken and not acknowledged yet:
// a queue of those to dispatch, and, in the order in which they came, those to
// acknowledge. MQTT-4.6.0-2 asks for acknowledgements in that order.
type inflight struct {
	maxCount, maxBytes int
	work               chan struct{} // there is something in queue
	wake               chan struct{} // something was stored or held
	idle               chan struct{} // nothing is owed any more

	mu      sync.Mutex
	queue   fifo // to dispatch
	order   fifo // QoS 1 and 2, to acknowledge
	ids     map[uint16]struct{}
	count   int
	bytes   int
	owed    int // handed and not stored
	behind  int // stored, and still in order
	held    int
	dropped uint64
}

func newInflight(maxCount, maxBytes int) *inflight {
	return &inflight{
		maxCount: maxCount, maxBytes: maxBytes,
		work: make(chan struct{}, 1), wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), ids: make(map[uint16]struct{}),
	}
}

// admission is what became of a message that came.
type admission uint8

const (
	admitted admission = iota
	repeated           // the same is in flight already
	full               // there is no room
)

// admit never blocks: the library's reader, and so the keep-alive, waits for it.
func (f *inflight) admit(m paho.Message, now time.Time) admission {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := len(m.Topic()) + len(m.Payload())
	if _, there := f.ids[m.MessageID()]; there && m.Qos() > 0 && m.Duplicate() {
		return repeated
	}
	if f.count > 0 && (f.count >= f.maxCount || f.bytes+size > f.maxBytes) {
		if m.Qos() == 0 {
			f.dropped++
		}
		return full
	}
	d := &message{Message: m, arrival: now, size: size}
	f.count++
	f.bytes += size
	f.queue.push(d)
	if m.Qos() > 0 {
		f.order.push(d)
		f.ids[m.MessageID()] = struct{}{}
	}
	poke(f.work)
	return admitted
}

// next waits for the next message to dispatch; nil when ctx is done.
func (f *inflight) next(ctx context.Context) *message {
	for ctx.Err() == nil {
		f.mu.Lock()
		d := f.queue.pop()
		f.mu.Unlock()
		if d != nil {
			return d
		}
		select {
		case <-ctx.Done():
		case <-f.work:
		}
	}
	return nil
}

// rest takes all that waits to be dispatched.
func (f *inflight) rest() (left []*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := f.queue.pop(); d != nil; d = f.queue.pop() {
		left = append(left, d)
	}
	return left
}

// takeDropped returns how many messages were dropped since it was last asked.
func (f *inflight) takeDropped() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.dropped
	f.dropped = 0
	return n
}

// forget releases a message that needs no acknowledgement.
func (f *inflight) forget(d *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release(d)
}

func (f *inflight) release(d *message) {
	f.count--
	f.bytes -= d.size
}

// hand says that every sample of d was taken by the gateway, to be stored.
func (f *inflight) hand(d *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.handed = true
	if !d.stored {
		f.owed++
	}
}

// store says that every sample of d is on disk. It does not block.
func (f *inflight) store(d *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.stored = true
	f.behind++
	if d.handed {
		f.owed--
	}
	if f.owed == 0 {
		poke(f.idle)
	}
	poke(f.wake)
}

// hold says that d stays unacknowledged on this connection.
func (f *inflight) hold(d *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.held = true
	f.held++
	poke(f.wake)
}

// holds reports whether there are messages that stay unacknowledged.
func (f *inflight) holds() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held > 0
}

// popStored returns the next message to acknowledge, or nil. Its place is free when it returns.
func (f *inflight) popStored() *message {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := f.order.head()
	if head == nil || !head.stored {
		return nil
	}
	f.order.pop()
	f.behind--
	delete(f.ids, head.MessageID())
	f.release(head)
	return head
}

// blocked returns the message that keeps later ones from being acknowledged although they are
// stored, or that is held itself; nil where there is none.
func (f *inflight) blocked() *message {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := f.order.head()
	if head == nil || head.stored || (f.behind == 0 && !head.held) {
		return nil
	}
	return head
}

// settled reports whether nothing is owed: all that the gateway took is stored.
func (f *inflight) settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owed == 0
}

// poke wakes whoever waits for c, a channel of one place.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fifo is a queue of messages; its owner bounds it.
type fifo struct {
	list  []*message
	first int
}

func (q *fifo) push(d *message) {
	if q.first > 32 && q.first > len(q.list)/2 {
		n := copy(q.list, q.list[q.first:])
		clear(q.list[n:])
		q.list, q.first = q.list[:n], 0
	}
	q.list = append(q.list, d)
}

func (q *fifo) head() *message {
	if q.first == len(q.list) {
		return nil
	}
	return q.list[q.first]
}

func (q *fifo) pop() *message {
	d := q.head()
	if d != nil {
		q.list[q.first] = nil
		q.first++
	}
	return d
}
