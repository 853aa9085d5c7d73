package mqtt

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/core/driver"
)

// fakeMessage is a message whose acknowledgement is recorded.
type fakeMessage struct {
	paho.Message
	id  uint16
	qos byte
	dup bool
	log *acks
}

type acks struct {
	mu   sync.Mutex
	list []uint16
}

func (a *acks) all() []uint16 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

func (m fakeMessage) Qos() byte         { return m.qos }
func (m fakeMessage) Duplicate() bool   { return m.dup }
func (m fakeMessage) MessageID() uint16 { return m.id }
func (m fakeMessage) Topic() string     { return "t" }
func (m fakeMessage) Payload() []byte   { return []byte("123456789") }
func (m fakeMessage) Ack() {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	m.log.list = append(m.log.list, m.id)
}

// ackLink runs only the part of a link that acknowledges.
func ackLink(t *testing.T) *link {
	l := newLink(driver.LinkConfig{Timeout: time.Second}, &linkSettings{MaxInflight: 100, MaxInflightBytes: 1000}, driver.Env{Log: slog.New(slog.DiscardHandler)})
	here, there := net.Pipe()
	l.conn = newFrameConn(here, 10, time.Second)
	t.Cleanup(func() { _ = there.Close(); _ = here.Close() })
	l.acker.Go(func() { l.acknowledgeAll(t.Context()) })
	t.Cleanup(l.acker.Wait)
	return l
}

func admitAll(t *testing.T, l *link, log *acks, ids ...uint16) []*message {
	var list []*message
	for _, id := range ids {
		if got := l.inflight.admit(fakeMessage{id: id, qos: 1, log: log}, time.Now()); got != admitted {
			t.Fatalf("message %d: admission %d", id, got)
		}
		list = append(list, l.inflight.next(t.Context()))
	}
	return list
}

func TestAcknowledgedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := ackLink(t), &acks{}
		list := admitAll(t, l, log, 1, 2, 3, 4)
		l.inflight.store(list[2])
		l.inflight.store(list[1])
		synctest.Wait()
		if got := log.all(); len(got) != 0 {
			t.Errorf("acknowledged %v before the first", got)
		}
		l.inflight.store(list[0])
		synctest.Wait()
		if got := log.all(); !slices.Equal(got, []uint16{1, 2, 3}) {
			t.Errorf("acknowledged %v", got)
		}
		time.Sleep(10 * stallAfter) // of the bubble's time: the last one may take as long as it likes
		select {
		case <-l.lost:
			t.Errorf("lost: %v", l.cause())
		default:
		}
	})
}

func TestPassedMessageEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := ackLink(t), &acks{}
		list := admitAll(t, l, log, 1, 2)
		l.inflight.store(list[1])
		start := time.Now()
		<-l.lost
		if took := time.Since(start); took != stallAfter || driver.CodeOf(l.cause()) != driver.NotConnected {
			t.Errorf("lost after %v: %v", took, l.cause())
		}
	})
}

func TestHeldMessageEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := ackLink(t), &acks{}
		list := admitAll(t, l, log, 1)
		l.inflight.hold(list[0])
		<-l.lost
		if len(log.all()) != 0 {
			t.Error("acknowledged")
		}
	})
}

func TestAdmission(t *testing.T) {
	f, log := newInflight(3, 25), &acks{} // a message has 10 bytes
	for i, tc := range []struct {
		m    fakeMessage
		want admission
	}{
		{fakeMessage{id: 1, qos: 1, log: log}, admitted},
		{fakeMessage{id: 1, qos: 1, dup: true, log: log}, repeated},
		{fakeMessage{qos: 0, log: log}, admitted},
		{fakeMessage{id: 2, qos: 1, log: log}, full}, // 30 bytes
		{fakeMessage{qos: 0, log: log}, full},
	} {
		if got := f.admit(tc.m, time.Now()); got != tc.want {
			t.Errorf("message %d: admission %d, want %d", i, got, tc.want)
		}
	}
	if n := f.takeDropped(); n != 1 {
		t.Errorf("%d dropped", n)
	}
	first := f.next(t.Context())
	f.store(first)
	if f.popStored() != first {
		t.Error("the first is not to be acknowledged")
	}
	if got := f.admit(fakeMessage{id: 1, qos: 1, dup: true, log: log}, time.Now()); got != admitted {
		t.Errorf("a new message with an old id: admission %d", got)
	}
	if got := newInflight(1, 1).admit(fakeMessage{id: 1, qos: 1}, time.Now()); got != admitted {
		t.Errorf("one message alone is always taken, and not: %d", got)
	}
}

// TestLostTokens checks that a publish whose connection is gone fails, although the
// library would complete its token without an error.
func TestLostTokens(t *testing.T) {
	l := newLink(driver.LinkConfig{Timeout: time.Second}, &linkSettings{MaxPayload: 10}, driver.Env{})
	l.client = lyingClient{l: l}
	err := l.publish(t.Context(), "d", "t", 1, false, nil)
	if driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("publish: %v", err)
	}
}

type lyingClient struct {
	paho.Client
	l *link
}

func (c lyingClient) Publish(string, byte, bool, any) paho.Token {
	c.l.lose(driver.Errorf(driver.NotConnected, "%w", errors.New("cut")))
	return &paho.DummyToken{}
}
