package field_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/fieldloom/fieldloom/test/plant"
)

// An instrument is the far end of a serial line.
type instrument struct {
	t      *testing.T
	master *os.File
	tty    *os.File // kept open, so that the line outlives a link
	path   string
	once   sync.Once
	done   sync.WaitGroup
}

// newInstrument makes a line; heard, which may be nil, is given what comes.
func newInstrument(t *testing.T, heard func(i *instrument, b []byte)) *instrument {
	t.Helper()
	opened, tty, err := pty.Open()
	if err == nil {
		_, err = term.MakeRaw(int(tty.Fd()))
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(opened.Fd())) // in a mode in which Close ends a Read
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = opened.Close()
	i := &instrument{t: t, master: os.NewFile(uintptr(fd), "master"), tty: tty, path: tty.Name()}
	i.done.Go(func() {
		var buf [512]byte
		for {
			n, err := i.master.Read(buf[:])
			if err != nil {
				return
			}
			if heard != nil {
				heard(i, buf[:n])
			}
		}
	})
	t.Cleanup(i.unplug)
	return i
}

func (i *instrument) say(b string) {
	_, _ = i.master.WriteString(b) // it may have been unplugged
}

func (i *instrument) unplug() {
	i.once.Do(func() {
		_ = i.master.Close()
		_ = i.tty.Close()
		i.done.Wait()
	})
}

// saying repeats something until the test ends.
func (i *instrument) saying(every time.Duration, what func(n int) string) {
	stop := make(chan struct{})
	i.t.Cleanup(func() { close(stop) })
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(every):
				i.say(what(n))
			}
		}
	}()
}

func xor(s string) (x byte) {
	for k := range len(s) {
		x ^= s[k]
	}
	return x
}

// A sentence whose sum is wrong is never good.
func TestNMEAChecksum(t *testing.T) {
	t.Parallel()
	i := newInstrument(t, nil)
	i.saying(100*time.Millisecond, func(n int) string {
		text := "GPRMC,181536.00,A,3454.85,S,13850.01,E,0022.4,084.4,230394,003.1,W"
		sum := xor(text)
		switch n % 3 {
		case 1:
			text = strings.Replace(text, "0022.4", "9022.4", 1)
		case 2:
			return "$GPRMC,1815"
		}
		return fmt.Sprintf("$%s*%02X\r\n", text, sum)
	})
	f := start(t, "50-nmea-checksum", i.path)
	f.wait("gps", "knots", 10*time.Second)
	all := f.gather("gps", "knots", 4, 10*time.Second)
	f.mustBe(f.samples("gps", "knots"), "22.4")
	if n, _ := good(all); n == len(all) {
		t.Error("no sample says that a sum was wrong")
	}
}

// A scale sends STX, the weight, ETX and a check byte.
func TestSTXandETX(t *testing.T) {
	t.Parallel()
	i := newInstrument(t, nil)
	weights := []string{"+001234.5 kg", "   ---   kg", "-000000.5 kg"}
	i.saying(100*time.Millisecond, func(n int) string {
		text := weights[n%3] + "\x03"
		return "\x02" + text + string([]byte{xor(text)})
	})
	f := start(t, "52-stx-etx", i.path)
	f.wait("scale", "kg", 10*time.Second)
	f.gather("scale", "kg", 4, 10*time.Second)
	f.mustBe(f.samples("scale", "kg"), "1234.5", "-0.5")
}

// A half-duplex adapter hears what it sends.
func TestEcho(t *testing.T) {
	t.Parallel()
	i := newInstrument(t, func(i *instrument, b []byte) {
		i.say(string(b))
		i.say("#01 T=21.5 H=40\r\n")
	})
	f := start(t, "53-echo", i.path)
	f.wait("i1", "temp", 10*time.Second)
	all := f.gather("i1", "temp", 4, 10*time.Second)
	f.mustBeGood(all)
	f.mustBe(all, "21.5")
}

// answers is an instrument that says which one it is.
func answers(number int) func(i *instrument, b []byte) {
	return func(i *instrument, b []byte) {
		for range bytes.Count(b, []byte("V?")) {
			i.say(fmt.Sprintf("V=%d\r\n", number))
		}
	}
}

// An adapter is pulled, and comes back as another tty under the same link; again and again,
// also under the number that it had.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"54-unplugged", "62-virtual-port-comes-back"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); unplugged(t, name) })
	}
}

func unplugged(t *testing.T, name string) {
	link := filepath.Join(t.TempDir(), "by-id")
	plug := func(number int) *instrument {
		i := newInstrument(t, answers(number))
		if err := os.Symlink(i.path, link); err != nil {
			t.Fatal(err)
		}
		return i
	}
	i := plug(1)
	f := start(t, name, link)
	f.wait("i1", "v", 10*time.Second)
	for number := 2; number < 6; number++ {
		i.unplug()
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		plant.Eventually(t, 10*time.Second, func() error {
			all := f.samples("i1", "v")
			if last := all[len(all)-1]; last.Quality == "good" {
				return fmt.Errorf("the last sample is good although the adapter was pulled: %s", last.Value)
			}
			return nil
		})
		i = plug(number)
		plant.Eventually(t, 15*time.Second, func() error {
			if _, last := good(f.samples("i1", "v")); last != fmt.Sprint(number) {
				return fmt.Errorf("adapter %d came back, the last value is %s", number, last)
			}
			return nil
		})
	}
}

// The instrument hangs on a serial server.
func TestSerialOverTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					if _, err := in.ReadString('\n'); err != nil {
						return
					}
					_, _ = c.Write([]byte("V=7.5\r\n"))
				}
			})
		}
	})
	t.Cleanup(done.Wait)
	t.Cleanup(func() { _ = l.Close() })
	f := start(t, "55-serial-over-tcp", "tcp://"+l.Addr().String())
	if got := f.wait("i1", "v", 10*time.Second); got != "7.5" {
		t.Errorf("v is %s", got)
	}
	f.g.Stop() // its end of the connections
}

// A sensor sends binary frames with a sum; its start byte occurs in the data too.
func TestBinaryFrames(t *testing.T) {
	t.Parallel()
	values := []uint16{0x7F00, 0x0D0A, 0xFAFA, 1}
	i := newInstrument(t, nil)
	i.saying(100*time.Millisecond, func(n int) string {
		frame := string(binary.BigEndian.AppendUint16([]byte{0xFA}, values[n%4])) + "\x00"
		return frame + string([]byte{xor(frame)}) + "\xFA\x00\x09\x00\x00" // and a spoilt one
	})
	f := start(t, "57-binary-frames", i.path)
	f.wait("s", "v", 10*time.Second)
	f.gather("s", "v", 8, 10*time.Second)
	f.mustBe(f.samples("s", "v"), "32512", "3338", "64250", "1")
}

// A board wants one command before it talks.
func TestWakeUp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	awake := false
	i := newInstrument(t, func(_ *instrument, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		awake = awake || bytes.Contains(b, []byte("STREAM ON\r\n"))
	})
	i.saying(100*time.Millisecond, func(int) string {
		mu.Lock()
		defer mu.Unlock()
		if !awake {
			return ""
		}
		return "T=21.5\r\n"
	})
	f := start(t, "58-wake-up-and-settle", i.path)
	if got := f.wait("s", "t", 10*time.Second); got != "21.5" {
		t.Errorf("t is %s", got)
	}
}

// A request ends in CR, its answer in ETX.
func TestTwoTerminators(t *testing.T) {
	t.Parallel()
	i := newInstrument(t, func(i *instrument, b []byte) {
		if bytes.Contains(b, []byte("W\r")) {
			i.say("\x02+0012.5 kg\x03")
		}
	})
	f := start(t, "64-two-terminators", i.path)
	if got := f.wait("scale", "kg", 10*time.Second); got != "12.5" {
		t.Errorf("kg is %s", got)
	}
}
