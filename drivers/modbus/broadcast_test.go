package modbus

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestBroadcast: a write to unit 0 is done when it is sent, and what follows it keeps the time
// that the units need to work it up.
func TestBroadcast(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(_ *bus, c *busConn, a asked) {
			if a.unit != 0 {
				c.reply(a, registersOf(a))
			}
		}
		l := b.link(settings, 0)
		_, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		addresses := []string{"holding:0", "holding:10:uint64", "coil:3", "holding:20.3"}
		var points []driver.Point
		for i, a := range addresses {
			points = append(points, driver.Point{Index: i, Name: a, Address: a, Access: driver.WriteOnly})
		}
		all, err := l.Device(t.Context(), driver.DeviceConfig{Name: "all", Points: points,
			Settings: json.RawMessage(`{"unit": 0, "broadcast": true, "write_coil": "fc15"}`)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range addresses {
			began := time.Now()
			if err := all.(*device).Write(t.Context(), points[i], driver.Uint64Value(1)); err != nil {
				t.Errorf("%s: %v", addresses[i], err)
			}
			if took := time.Since(began); i == 0 && took > 0 {
				t.Errorf("%s: took %v", addresses[i], took)
			}
			sent := time.Now()
			synctest.Wait()
			samples, err := poll()
			wantGood(t, samples, err, 256)
			heard := b.requests()
			if last := heard[len(heard)-1]; last.at.Sub(sent) < broadcastDelay || last.unit != 1 || heard[len(heard)-2].unit != 0 {
				t.Errorf("%s: the next request came after %v", addresses[i], last.at.Sub(sent))
			}
		}
		if n := len(b.requests()); n != 2*len(addresses) {
			t.Errorf("%d requests, want %d", n, 2*len(addresses))
		}
	})
}

// TestReadingABroadcastIsAConfigurationFault: at check, with the point and what to do.
func TestReadingABroadcastIsAConfigurationFault(t *testing.T) {
	for _, test := range []struct {
		link, unit string
		broadcast  bool
	}{
		{`{"url": "/dev/ttyUSB0"}`, `{"unit": 0}`, true},
		{`{"url": "/dev/ttyUSB0", "framing": "ascii"}`, `{"unit": 0}`, true},
		{`{"url": "rfc2217://x:4001"}`, `{"unit": 0}`, true},
		{`{"url": "tcp://x:4001", "framing": "rtu"}`, `{"unit": 0}`, true},
		{`{"url": "udp://x"}`, `{"unit": 0, "broadcast": true}`, true},
		{`{"url": "tcp://x"}`, `{"unit": 0}`, false},
		{`{"url": "tls://x"}`, `{"unit": 0}`, false},
		{`{"url": "/dev/ttyUSB0"}`, `{"unit": 1}`, false},
	} {
		for access, reads := range map[driver.Access]bool{driver.ReadWrite: true, driver.ReadOnly: true, driver.WriteOnly: false} {
			err := New().(driver.Checker).Check(driver.LinkConfig{Settings: json.RawMessage(test.link)}, []driver.DeviceConfig{{
				Name: "all", Settings: json.RawMessage(test.unit), Points: []driver.Point{{Name: "p", Address: "holding:0", Access: access}},
			}})
			if (err != nil) != (reads && test.broadcast) {
				t.Errorf("%+v, access %d: %v", test, access, err)
				continue
			}
			if err == nil {
				continue
			}
			if f := driver.ConfigErrors(err); len(f) != 1 || f[0].Device != "all" || f[0].Point != "p" || f[0].Key != "access" || !strings.Contains(f[0].Text, "access: w") {
				t.Errorf("%+v: %v", test, err)
			}
		}
	}
}

// TestSilence is the least time between two frames (Modbus over Serial Line V1.02, clause
// 2.5.1.1), and what the settings make of it.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		settings string
		gap      time.Duration
		want     time.Duration
	}{
		{`{"url": "/dev/t", "baud": 9600}`, 0, 4010416},                                   // 3.5 characters of 11 bits
		{`{"url": "/dev/t", "baud": 9600, "parity": "none", "stop_bits": 1}`, 0, 3645833}, // of 10 bits
		{`{"url": "/dev/t", "baud": 9600, "parity": "none", "stop_bits": 2}`, 0, 4010416}, // of 11
		{`{"url": "/dev/t", "baud": 19200}`, 0, 2005207},                                  // still by the rate
		{`{"url": "/dev/t", "baud": 38400}`, 0, 1750 * time.Microsecond},                  // fixed
		{`{"url": "/dev/t", "baud": 115200}`, 0, 1750 * time.Microsecond},                 // fixed
		{`{"url": "rfc2217://x:1", "baud": 1200}`, 0, 32083330},                           // also behind a server
		{`{"url": "/dev/t", "baud": 115200, "turnaround": "20ms"}`, 0, 20 * time.Millisecond},
		{`{"url": "/dev/t", "baud": 115200, "turnaround": "20ms"}`, time.Second, time.Second},
		{`{"url": "/dev/t", "framing": "ascii"}`, 0, 0}, // a frame's end is its line feed
		{`{"url": "tcp://x", "framing": "rtu"}`, 0, 0},  // the serial server keeps it
		{`{"url": "tcp://x"}`, 30 * time.Millisecond, 30 * time.Millisecond},
		{`{"url": "tcp://x", "turnaround": "5ms"}`, 0, 5 * time.Millisecond},
	} {
		s, err := parseLink(driver.LinkConfig{Settings: json.RawMessage(test.settings), Gap: test.gap})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.silence(test.gap); got < test.want-10 || got > test.want+10 {
			t.Errorf("%s, gap %v: %v, want %v", test.settings, test.gap, got, test.want)
		}
	}
}
