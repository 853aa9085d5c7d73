package modbus

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// framings are the links of the tests: the same over every framing.
var framings = map[string]struct {
	codec    framing
	settings string
}{
	"mbap":  {mbap{}, `{"url": "tcp://x"}`},
	"rtu":   {rtu{}, `{"url": "tcp://x", "framing": "rtu"}`},
	"ascii": {ascii{}, `{"url": "tcp://x", "framing": "ascii"}`},
}

func eachFraming(t *testing.T, test func(t *testing.T, b *bus, settings string)) {
	for name, f := range framings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newBus(t, f.codec), f.settings) })
		})
	}
}

// with adds a setting to a link's.
func with(settings, more string) string { return settings[:len(settings)-1] + ", " + more + "}" }

func wantGood(t *testing.T, samples []driver.Sample, err error, want ...uint64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range samples {
		if n, ok := s.Value.AsUint64(); s.Quality != driver.Good || !ok || n != want[i] {
			t.Errorf("sample %d: %v %v %v, want %d", i, s.Quality, s.Value, s.Fault, want[i])
		}
	}
}

// TestGap holds the gap between any two requests: of a poll, of a split, of single writes, of a
// read-modify-write, after a wait in vain and after an end, and whichever unit they are to.
func TestGap(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		const gap, turn = 100 * time.Millisecond, 7 * time.Millisecond
		b.answer = func(_ *bus, c *busConn, a asked) {
			start := binary.BigEndian.Uint16(a.pdu[1:])
			time.Sleep(turn)
			switch {
			case a.pdu[0] == 3 && start == 200: // silent
			case a.pdu[0] == 3 && start == 300:
				c.end()
			case a.pdu[0] == 3 && start == 11 && binary.BigEndian.Uint16(a.pdu[3:]) > 1:
				c.reply(a, []byte{0x83, 2})
			default:
				c.reply(a, registersOf(a))
			}
		}
		l := b.link(settings, gap)
		many, poll := b.polled(l, `{"unit": 1, "write": "fc6", "write_bit": "read_modify_write"}`, "holding:0", "holding:100", "holding:11", "holding:12", "holding:400:uint64", "holding:500.3")
		_, silent := b.polled(l, `{"unit": 2}`, "holding:200")
		_, ending := b.polled(l, `{"unit": 3}`, "holding:300")
		for range 2 {
			samples, err := poll()
			if err != nil || samples[0].Quality != driver.Good || samples[1].Quality != driver.Good {
				t.Fatal(samples, err)
			}
			for _, i := range []int{4, 5} {
				if err := many.Write(t.Context(), many1(i), driver.Uint64Value(1)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := silent(); driver.CodeOf(err) != driver.Timeout {
				t.Errorf("silence: %v", err)
			}
			if _, err := ending(); err == nil {
				t.Error("the end of the connection was answered")
			}
		}
		heard := b.requests()
		if len(heard) < 24 {
			t.Fatalf("%d requests", len(heard))
		}
		for i, a := range heard[1:] {
			before := heard[i]
			end := before.at.Add(turn)
			if before.unit == 2 {
				end = before.at.Add(time.Second)
			}
			if silence := a.at.Sub(end); silence < gap || silence > gap+time.Second+time.Millisecond {
				t.Errorf("request %d (unit %d, % X) came %v after the end of the one before (unit %d, % X)", i+1, a.unit, a.pdu, silence, before.unit, before.pdu)
			}
		}
	})
}

func many1(i int) driver.Point { return driver.Point{Index: i} }

// TestLateAnswers has units answer late, twice, for another and not at all, at random: a value
// that is Good is that of the register and the unit that were asked.
func TestLateAnswers(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		random, order := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
		b.answer = func(_ *bus, c *busConn, a asked) {
			b.mu.Lock()
			kind, delay := random.IntN(8), time.Duration(random.IntN(1900))*time.Millisecond
			b.mu.Unlock()
			switch kind {
			case 0, 1:
				time.Sleep(delay)
				c.reply(a, registersOf(a))
			case 2:
				answer := c.framed(a, a.unit, registersOf(a))
				c.deliver(slices.Concat(answer, answer))
			case 3:
				c.deliver(c.framed(a, a.unit+1, registersOf(asked{unit: a.unit + 1, pdu: a.pdu})))
			case 4:
				time.Sleep(delay)
				c.reply(a, []byte{a.pdu[0] | exceptionBit, 4})
			case 5:
			default:
				c.reply(a, registersOf(a))
			}
		}
		l := b.link(settings, 0)
		var polls []func() ([]driver.Sample, error)
		for unit := range 3 {
			for _, at := range []string{"10", "200", "400"} {
				_, p := b.polled(l, fmt.Sprintf(`{"unit": %d}`, unit+1), "holding:"+at, "input:"+at)
				polls = append(polls, p)
			}
		}
		good := 0
		for range 600 {
			i := order.IntN(len(polls))
			want := uint64((i/3+1)<<8) + []uint64{10, 200, 400}[i%3]
			samples, _ := polls[i]()
			for _, s := range samples {
				if s.Quality != driver.Good {
					continue
				}
				good++
				if n, _ := s.Value.AsUint64(); n != want {
					t.Fatalf("the value %d is Good where %d is right", n, want)
				}
			}
		}
		if good < 300 {
			t.Errorf("%d good samples of 1200", good)
		}
	})
}

// TestFragments has an answer come a byte at a time, behind an echo of the request.
func TestFragments(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		b.answer = func(_ *bus, c *busConn, a asked) {
			answer := c.framed(a, a.unit, registersOf(a))
			if b.codec.serial() {
				answer = slices.Concat(a.adu, answer)
			}
			for _, one := range answer {
				time.Sleep(10 * time.Millisecond)
				c.deliver([]byte{one})
			}
		}
		l := b.link(settings, 0)
		d, poll := b.polled(l, `{"unit": 1}`, "holding:0", "holding:100")
		for range 3 {
			samples, err := poll()
			wantGood(t, samples, err, 256, 356)
		}
		if err := d.Write(t.Context(), many1(0), driver.Uint64Value(7)); err != nil {
			t.Error(err)
		}
	})
}

// TestEchoIsNoAcknowledgement: where only the echo of a write comes the write is not done.
func TestEchoIsNoAcknowledgement(t *testing.T) {
	eachFraming(t, func(t *testing.T, b *bus, settings string) {
		if !b.codec.serial() {
			return // nothing that is sent over MBAP comes back
		}
		alive := true
		b.answer = func(_ *bus, c *busConn, a asked) {
			c.deliver(a.adu)
			if alive {
				time.Sleep(20 * time.Millisecond)
				c.reply(a, registersOf(a))
			}
		}
		l := b.link(settings, 0)
		d, poll := b.polled(l, `{"unit": 1}`, "holding:0")
		if err := d.Write(t.Context(), many1(0), driver.Uint64Value(7)); err != nil {
			t.Errorf("a write before any read: %v", err)
		}
		alive = false
		if err := d.Write(t.Context(), many1(0), driver.Uint64Value(8)); driver.CodeOf(err) != driver.Timeout || !driver.MayBeDone(err) {
			t.Errorf("a write to a dead unit, of which the echo comes: %v", err)
		}
		if _, err := poll(); driver.CodeOf(err) != driver.Timeout {
			t.Errorf("a read of a dead unit, of which the echo comes: %v", err)
		}
	})
}
