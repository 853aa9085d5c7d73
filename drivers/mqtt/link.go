package mqtt

import (
	"context"
	"log/slog"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/core/driver"
)

// link is one connection to a broker. It never reconnects: when the connection is
// gone, so is the link, and the engine opens another. So a message, a token or an
// acknowledgement always belongs to exactly one connection.
type link struct {
	name    string
	log     *slog.Logger
	env     driver.Env
	timeout time.Duration
	set     *linkSettings
	client  paho.Client
	conn    *frameConn

	inflight *inflight
	lost     chan struct{} // closed when the connection is gone or the link is closed
	lostOnce sync.Once
	lostErr  error // why; valid once lost is closed

	cancelWork func()
	cancelAck  func()
	workers    sync.WaitGroup // dispatch and subscribe
	acker      sync.WaitGroup
	closeOnce  sync.Once

	settle  time.Duration // see awaitDevices
	changed chan struct{} // a device came, or pending has grown
	ready   chan struct{} // closed when dispatching may begin

	mu         sync.Mutex
	index      index
	filters    map[string]*filter
	pending    []*filter                  // filters that the broker is still to be told
	subscribed bool                       // there was a Subscribe
	owners     map[string]*device         // by name, whose Subscribe was the last
	ended      map[string][]*subscription // by device name; still in the index: see retire
}

var _ driver.Link = (*link)(nil)

const (
	// firstWithin is how long the link waits for the first device to subscribe.
	firstWithin = 10 * time.Second
	// settleNew and settleResumed are how long it waits for the next one, in a new
	// session and in one that may have messages for devices that are not there yet.
	settleNew     = 50 * time.Millisecond
	settleResumed = 250 * time.Millisecond
)

func newLink(cfg driver.LinkConfig, set *linkSettings, env driver.Env) *link {
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &link{
		name: cfg.Name, log: log, env: env, timeout: cfg.Timeout, set: set,
		inflight: newInflight(set.MaxInflight, set.MaxInflightBytes),
		lost:     make(chan struct{}),
		filters:  make(map[string]*filter),
		owners:   make(map[string]*device),
		ended:    make(map[string][]*subscription),
		settle:   settleResumed,
		changed:  make(chan struct{}, 1),
		ready:    make(chan struct{}),
	}
}

// start runs the link's three goroutines; Close waits for them.
func (l *link) start() {
	work, cancelWork := context.WithCancel(context.Background())
	ack, cancelAck := context.WithCancel(context.Background())
	l.cancelWork, l.cancelAck = cancelWork, cancelAck
	l.workers.Go(func() { l.dispatchAll(work) })
	l.workers.Go(func() { l.subscribeAll(work) })
	l.acker.Go(func() { l.acknowledgeAll(ack) })
}

// Device compiles a device.
func (l *link) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	d, err := parseDevice(cfg, l.set)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.lost:
		return nil, l.cause()
	default:
	}
	d.link = l
	poke(l.changed)
	return d, nil
}

// lose ends the link's life: every Subscribe and Write returns err. The first call
// counts, and returns true. It does not block.
func (l *link) lose(err error) (first bool) {
	l.lostOnce.Do(func() {
		l.lostErr = err
		close(l.lost)
		first = true
	})
	return first
}

// drop is lose for a connection that is still there: the broker keeps what was not
// acknowledged.
func (l *link) drop(err error) {
	l.lose(err)
	_ = l.conn.Close() // it is given up anyway
}

// cause tells why the link was lost.
func (l *link) cause() error {
	<-l.lost
	return l.lostErr
}

// ackGrace is how long Close waits for samples on their way to the disk, so that
// a planned stop leaves nothing to be sent again.
const ackGrace = time.Second

// Close ends the session's connection. Messages whose samples are not on disk
// yet stay with the broker.
func (l *link) Close(ctx context.Context) error {
	l.closeOnce.Do(func() {
		connected := l.lose(driver.Errorf(driver.NotConnected, "link %s is closed", l.name))
		l.cancelWork()
		l.workers.Wait() // an emit ends with its Subscribe, which has seen lost
		if connected {
			l.awaitStores(ctx)
		}
		l.cancelAck()
		l.acker.Wait() // its last acknowledgements go out before the goodbye
		// Not zero: the library needs a moment to end its goroutines in order. It
		// returns as soon as they have.
		l.client.Disconnect(uint(max(l.timeout, time.Second) / time.Millisecond))
		_ = l.conn.Close() // closed already, unless the library gave up waiting
		l.leave()
	})
	return nil
}

// awaitStores waits for what the gateway took before.
func (l *link) awaitStores(ctx context.Context) {
	limit := time.NewTimer(ackGrace)
	defer limit.Stop()
	for !l.inflight.settled() {
		select {
		case <-l.inflight.idle:
		case <-ctx.Done():
			return
		case <-limit.C:
			return
		}
	}
}

// acknowledgeAll acknowledges messages as they are stored. The library's Ack may
// wait for the network, which a stored callback must not.
func (l *link) acknowledgeAll(ctx context.Context) {
	stall := time.NewTimer(0)
	stall.Stop()
	var stalled *message
	for {
		l.acknowledgeStored()
		if head := l.inflight.blocked(); head != stalled {
			stalled = head
			stall.Stop()
			if head != nil {
				stall.Reset(stallAfter)
			}
		}
		select {
		case <-ctx.Done():
			l.acknowledgeStored() // select may have passed over wake
			return
		case <-l.inflight.wake:
		case <-stall.C:
			l.drop(driver.Errorf(driver.NotConnected, "a message on %q was not stored while later ones were: "+
				"the connection is ended so that the broker sends it again", stalled.Topic()))
			return
		}
	}
}

func (l *link) acknowledgeStored() {
	for d := l.inflight.popStored(); d != nil; d = l.inflight.popStored() {
		d.Ack()
	}
}

// stallAfter is how long one message may keep stored ones behind it from being
// acknowledged. The gateway stores in order, so a message that was passed was lost
// on the way, or is for a device that is not there any more; but the broker stops
// sending when its window is full of such.
const stallAfter = 5 * time.Second
