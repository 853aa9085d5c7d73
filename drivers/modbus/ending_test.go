package modbus

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestClosesAfterAnswer: what ends while nobody asks is nobody's fault, and is seen before the
// next request is sent into it, a write among them.
func TestClosesAfterAnswer(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(_ *bus, c *busConn, a asked) {
			c.reply(a, registersOf(a))
			c.end()
		}
		l := b.link(settings, 0)
		d, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		for range 5 {
			samples, err := poll()
			wantGood(t, samples, err, 256)
			synctest.Wait()
			if err := d.Write(t.Context(), many1(0), driver.Uint64Value(1)); err != nil {
				t.Errorf("a write: %v", err)
			}
			synctest.Wait()
		}
		heard := b.requests()
		if len(heard) != 10 || len(b.conns) != 10 {
			t.Errorf("%d requests on %d connections, want 10 on 10", len(heard), len(b.conns))
		}
	})
}

// TestEndsWhenAsked: a read whose connection ends before a byte of its answer is asked once more
// on another; one that ends twice, or in the middle of an answer, is a fault; and a write is
// never sent again.
func TestEndsWhenAsked(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		var ends atomic.Int32
		half := false
		b.answer = func(_ *bus, c *busConn, a asked) {
			switch {
			case ends.Add(-1) < 0:
				c.reply(a, registersOf(a))
				return
			case half:
				c.deliver(c.framed(a, a.unit, registersOf(a))[:4])
			}
			c.end()
		}
		l := b.link(settings, 0)
		d, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		asks := func() int { return len(b.requests()) }
		samples, err := poll()
		wantGood(t, samples, err, 256)
		ends.Store(1)
		before := asks()
		samples, err = poll()
		wantGood(t, samples, err, 256)
		if n := asks() - before; n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
		ends.Store(2)
		if _, err := poll(); driver.CodeOf(err) != driver.Protocol {
			t.Errorf("two ends: %v", err)
		}
		half = true
		ends.Store(1)
		before = asks()
		if _, err := poll(); driver.CodeOf(err) != driver.Protocol {
			t.Errorf("half an answer: %v", err)
		}
		if n := asks() - before; n != 1 {
			t.Errorf("half an answer was asked for %d times", n)
		}
		half = false
		bit, _ := b.polled(l, `{"unit": 1, "write_bit": "read_modify_write"}`, "holding:7.3")
		ends.Store(1)
		before = asks()
		if err := bit.Write(t.Context(), many1(0), driver.BoolValue(true)); err != nil {
			t.Errorf("a read-modify-write whose read meets the end of a connection: %v", err)
		}
		if n := asks() - before; n != 3 {
			t.Errorf("%d requests, want the read twice and the write once", n)
		}
		for _, half = range []bool{false, true} {
			ends.Store(1)
			before = asks()
			if err := d.Write(t.Context(), many1(0), driver.Uint64Value(1)); err == nil || !driver.MayBeDone(err) {
				t.Errorf("a write whose connection ends: %v", err)
			}
			if n := asks() - before; n != 1 {
				t.Errorf("a write was sent %d times", n)
			}
			ends.Store(0)
			samples, err = poll()
			wantGood(t, samples, err, 256)
		}
	})
}

// TestEndsInAWindow: of several requests in flight on a connection that ends those without an
// answer are asked again, and no others.
func TestEndsInAWindow(t *testing.T) {
	for _, window := range []string{"1", "8"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, mbap{})
			ended := false
			b.answer = func(_ *bus, c *busConn, a asked) {
				b.mu.Lock()
				last := c.number == 0 && a.pdu[2] == 150
				ended = ended || last
				b.mu.Unlock()
				if last {
					time.Sleep(10 * time.Millisecond)
					c.end()
					return
				}
				c.reply(a, registersOf(a))
			}
			l := b.link(`{"url": "tcp://x", "window": `+window+`}`, 0)
			_, poll := b.polled(l, `{"unit": 1}`, "holding:0", "holding:50", "holding:100", "holding:150", "holding:200", "holding:250")
			samples, err := poll()
			wantGood(t, samples, err, 256, 306, 356, 406, 456, 506)
			if !ended || len(b.conns) != 2 {
				t.Errorf("window %s: %d connections", window, len(b.conns))
			}
			if n := len(b.requests()); n < 7 || n > 12 {
				t.Errorf("window %s: %d requests for six blocks", window, n)
			}
		})
	}
}

// TestPauseAfterConnect: nothing is sent in the first seconds of a connection, also of one that
// takes another's place in a poll.
func TestPauseAfterConnect(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(_ *bus, c *busConn, a asked) {
			if time.Since(c.opened) < 2500*time.Millisecond {
				return // it hears nothing yet
			}
			c.reply(a, registersOf(a))
			c.end()
		}
		l := b.link(with(settings, `"pause_after_connect": "2500ms"`), 0)
		_, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		for range 3 {
			samples, err := poll()
			wantGood(t, samples, err, 256)
		}
		if call, _ := l.Allowance(); call < 7*time.Second {
			t.Errorf("a call is given %v to connect twice", call)
		}
	})
}

// TestIdleClose gives the device up after a time without use, and not before.
func TestIdleClose(t *testing.T) {
	for setting, after := range map[string]time.Duration{
		`"idle_close": "3s"`: 3 * time.Second, `"close_after_poll": true`: afterPoll, `"idle_close": "0s"`: 0,
	} {
		eachFraming(t, func(t *testing.T, b *bus, settings string) {
			l := b.link(with(settings, setting), 0)
			_, poll := b.polled(l, `{"unit": 1}`, "holding:0")
			_, other := b.polled(l, `{"unit": 2}`, "holding:0")
			if len(b.conns) != 0 {
				t.Error("connected before anybody asked")
			}
			for i := range 3 {
				samples, err := poll()
				wantGood(t, samples, err, 256)
				if after > 0 {
					time.Sleep(after / 2)
				}
				samples, err = other()
				wantGood(t, samples, err, 512)
				used := time.Now()
				time.Sleep(time.Minute)
				c := b.conns[len(b.conns)-1]
				if after == 0 {
					if len(b.conns) != 1 || !c.closedAt().IsZero() {
						t.Errorf("%s: a connection was closed", setting)
					}
					continue
				}
				if len(b.conns) != i+1 || !c.closedAt().Equal(used.Add(after)) {
					t.Errorf("%s: closed %v after the last use, %d connections", setting, c.closedAt().Sub(used), len(b.conns))
				}
			}
		})
	}
}

// TestNothingIsLeftOpen closes a link in every state: nothing of it stays.
func TestNothingIsLeftOpen(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(*bus, *busConn, asked) {}
		l := b.link(with(settings, `"idle_close": "3s"`), 0)
		_, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		failed := make(chan error, 1)
		go func() {
			_, err := poll()
			failed <- err
		}()
		synctest.Wait()
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-failed; driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("a poll of a link that is closed: %v", err)
		}
		if _, err := poll(); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("a poll after that: %v", err)
		}
		if len(b.conns) != 1 || b.conns[0].closedAt().IsZero() {
			t.Errorf("%d connections, or one is open", len(b.conns))
		}
	})
}
