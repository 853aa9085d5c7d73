package modbus

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestTransactionZero: what answers with the transaction id 0 is taken at its word where the
// settings say so, and its late answer is never that to the next request.
func TestTransactionZero(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, mbap{})
			var late atomic.Int64 // how long an answer takes
			b.answer = func(_ *bus, c *busConn, a asked) {
				time.Sleep(time.Duration(late.Load()))
				answer := c.framed(a, a.unit, registersOf(a))
				copy(answer[:2], []byte{0, 0})
				c.deliver(answer)
			}
			settings := `{"url": "tcp://x"}`
			if lenient {
				settings = with(settings, `"ignore": ["transaction"]`)
			}
			l := b.link(settings, 0)
			d, poll := b.polled(l, `{"unit": 1}`, "holding:0")
			_, other := b.polled(l, `{"unit": 1}`, "holding:50")
			samples, err := poll()
			if !lenient {
				mustSay(t, err, driver.Timeout, "1 late or with a transaction id that was not asked")
				return
			}
			wantGood(t, samples, err, 256)
			if err := d.Write(t.Context(), many1(0), driver.Uint64Value(1)); err != nil {
				t.Error(err)
			}
			late.Store(int64(1200 * time.Millisecond))
			if _, err := poll(); driver.CodeOf(err) != driver.Timeout {
				t.Errorf("a late answer: %v", err)
			}
			late.Store(0)
			for range 3 {
				samples, err := other()
				wantGood(t, samples, err, 306)
			}
			if len(b.conns) != 2 || b.conns[0].closedAt().IsZero() {
				t.Errorf("%d connections, want the first closed after the wait in vain", len(b.conns))
			}
		})
	}
}

// TestTrailingBytes: in the frame or behind it, at once or later, they are left out where the
// settings say so.
func TestTrailingBytes(t *testing.T) {
	for name, given := range map[string]func(answer []byte) (now, later []byte){
		"in the frame": func(b []byte) ([]byte, []byte) {
			b[5] += 2
			return append(b, 7, 7), nil
		},
		"a byte behind it":     func(b []byte) ([]byte, []byte) { return append(b, 0), nil },
		"a few behind it":      func(b []byte) ([]byte, []byte) { return append(b, 1, 2, 3, 4, 5, 6, 7, 8, 9), nil },
		"later":                func(b []byte) ([]byte, []byte) { return b, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9} },
		"a register too many":  func(b []byte) ([]byte, []byte) { b[5] += 2; b[8] += 2; return append(b, 7, 7), nil },
		"an answer once again": func(b []byte) ([]byte, []byte) { return slices.Concat(b, b), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, mbap{})
			b.answer = func(_ *bus, c *busConn, a asked) {
				now, later := given(c.framed(a, a.unit, registersOf(a)))
				c.deliver(now)
				time.Sleep(10 * time.Millisecond)
				c.deliver(later)
			}
			l := b.link(`{"url": "tcp://x", "ignore": ["trailing"]}`, 0)
			_, poll := b.polled(l, `{"unit": 1}`, "holding:0", "holding:50")
			for range 5 {
				samples, err := poll()
				if len(samples) != 2 {
					t.Fatal(name)
				}
				wantGood(t, samples, err, 256, 306)
				time.Sleep(100 * time.Millisecond)
			}
			if len(b.conns) != 1 {
				t.Errorf("%s: %d connections", name, len(b.conns))
			}
		})
	}
}

// TestDatagrams: one that is no frame, or half of one, costs nothing but itself.
func TestDatagrams(t *testing.T) {
	for _, foreign := range [][]byte{{}, {1}, []byte("GET / HTTP/1.1\r\n\r\n"), {0, 1, 0, 0, 0, 200, 1, 3}, {0, 1, 0, 0, 0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, mbap{})
			b.answer = func(_ *bus, c *busConn, a asked) {
				c.deliver(foreign)
				synctest.Wait() // a read takes one datagram
				c.reply(a, registersOf(a))
			}
			l := b.link(`{"url": "udp://x"}`, 0)
			_, poll := b.polled(l, `{"unit": 1}`, "holding:0", "holding:50")
			for range 3 {
				samples, err := poll()
				wantGood(t, samples, err, 256, 306)
			}
			if len(b.conns) != 1 {
				t.Errorf("%q: %d connections", foreign, len(b.conns))
			}
		})
	}
}

// TestStrangerIsNamed: over RTU and ASCII too the fault says who has answered.
func TestStrangerIsNamed(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(_ *bus, c *busConn, a asked) {
			c.deliver(c.framed(a, 5, registersOf(a)))
		}
		_, poll := b.polled(b.link(settings, 0), `{"unit": 19}`, "holding:0")
		_, err := poll()
		want := "unit 5 answered where unit 19 was asked"
		if !b.codec.serial() {
			want = "response unit id '5' does not match request '19'"
		}
		mustSay(t, err, driver.Protocol, want)
		_, lenient := b.polled(b.link(with(settings, `"ignore": ["unit"]`), 0), `{"unit": 19}`, "holding:0")
		samples, err := lenient()
		wantGood(t, samples, err, 19*256)
	})
}

func mustSay(t *testing.T, err error, code driver.Code, text string) {
	t.Helper()
	if driver.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%v (%v), want %v with %q", err, driver.CodeOf(err), code, text)
	}
}

// TestLinkSettings has every setting of a link wrong once: each fault names its key.
func TestLinkSettings(t *testing.T) {
	for settings, want := range map[string]string{
		`{"url": "/dev/ttyUSB0", "framing": "mbap"}`:                        "framing: mbap is not spoken on a serial line: use rtu or ascii",
		`{"url": "tcp://x", "framing": "tcp"}`:                              `framing: "tcp" is not mbap, rtu or ascii`,
		`{"url": "tcp://x", "framing": "rtu", "window": 2}`:                 "window: 2: with framing: rtu one request is in flight at most",
		`{"url": "tcp://x", "ignore": ["transaction"], "window": 2}`:        "window: 2: with ignore: transaction or trailing one request is in flight at most",
		`{"url": "tcp://x", "ignore": ["units"]}`:                           `ignore: "units" is not transaction, trailing or unit`,
		`{"url": "tcp://x", "echo": true}`:                                  "echo: ",
		`{"url": "/dev/ttyUSB0", "echo": "yes"}`:                            "echo: yes is not auto, true or false",
		`{"url": "/dev/ttyUSB0", "echo": [1]}`:                              "echo: ",
		`{"url": "tcp://x", "turnaround": "11s"}`:                           "turnaround: 11s is not within 0s and 10s",
		`{"url": "tcp://x", "turnaround": "-1s"}`:                           "turnaround: -1s is not within 0s and 10s",
		`{"url": "tcp://x", "close_after_poll": true, "idle_close": "1s"}`:  "close_after_poll: it and idle_close say two things",
		`{"url": "tcp://x", "pause_after_connect": "2m"}`:                   "pause_after_connect: ",
		`{"url": "tcp://x", "idle_close": "25h"}`:                           "idle_close: ",
		`{"url": "tcp://x", "window": 0}`:                                   "window: 0 is out of range: use 1 to 64",
		`{"url": "/dev/ttyUSB0", "baud": 9600, "echo": "auto"}`:             "",
		`{"url": "tcp://x", "framing": "ascii", "echo": true}`:              "",
		`{"url": "udp://x", "ignore": ["unit"], "window": 8}`:               "",
		`{"url": "rfc2217://x:1", "framing": "ascii", "turnaround": "10s"}`: "",
	} {
		_, err := parseLink(driver.LinkConfig{Settings: json.RawMessage(settings)})
		var got []string
		for _, f := range driver.ConfigErrors(err) {
			got = append(got, f.Key+": "+f.Text)
		}
		if len(got) != min(len(want), 1) || len(got) == 1 && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", settings, got, want)
		}
	}
	s, err := parseLink(driver.LinkConfig{Settings: json.RawMessage(`{"url": "tcp://x", "window": 8}`), Gap: time.Second})
	if err != nil || s.Window != 1 {
		t.Errorf("a link with a gap has a window of %d, %v", s.Window, err)
	}
}
