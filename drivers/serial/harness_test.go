package serial_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

// envPort makes this test binary a process that has a port open.
const envPort = "TEST_PORT"

func TestMain(m *testing.M) {
	if port := os.Getenv(envPort); port != "" {
		held(port)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of the tests; it is only reached when a test fails.
const patience = 20 * time.Second

// instrument is the far end of a serial line.
type instrument struct {
	t      *testing.T
	master *os.File
	path   string
	once   sync.Once
	heard  chan string // every line that came
	wg     sync.WaitGroup
}

// newInstrument makes a pseudo terminal and answers each line with what reply
// returns; nil: nothing is answered.
func newInstrument(t *testing.T, reply func(line string) string) *instrument {
	t.Helper()
	master, tty, err := pty.Open()
	check(t, err)
	master = interruptible(t, master)
	i := &instrument{t: t, master: master, path: tty.Name(), heard: make(chan string, 1000)}
	i.wg.Go(func() {
		// The terminal's own end stays open, so that the line outlives a link.
		defer func() { check(t, tty.Close()) }()
		for in := bufio.NewReader(master); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\r\n")
			i.heard <- line
			if reply != nil {
				i.say(reply(line))
			}
		}
	})
	t.Cleanup(i.unplug)
	return i
}

// interruptible returns the same file in a mode in which Close ends a Read.
func interruptible(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	check(t, err)
	check(t, unix.SetNonblock(fd, true))
	defer func() { check(t, f.Close()) }()
	return os.NewFile(uintptr(fd), f.Name())
}

// say writes bytes as they are.
func (i *instrument) say(s string) {
	_, _ = io.WriteString(i.master, s) // fails when the test has unplugged it
}

// unplug ends the line.
func (i *instrument) unplug() {
	i.once.Do(func() {
		check(i.t, i.master.Close())
		i.wg.Wait()
	})
}

func settings(t *testing.T, s string) json.RawMessage {
	t.Helper()
	if !json.Valid([]byte(s)) {
		t.Fatalf("settings are no JSON: %s", s)
	}
	return json.RawMessage(s)
}

func openLink(t *testing.T, i *instrument, timeout time.Duration, more string) driver.Link {
	t.Helper()
	l, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "line", Timeout: timeout,
		Settings: settings(t, `{"port": "`+i.path+`"`+more+`}`)}, driver.Env{})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close(context.Background())) })
	return l
}

// config makes a device; each point's name is its address.
func config(t *testing.T, set string, addresses ...string) driver.DeviceConfig {
	t.Helper()
	cfg := driver.DeviceConfig{Name: "dev", Settings: settings(t, set)}
	for n, a := range addresses {
		cfg.Points = append(cfg.Points, driver.Point{Index: n, Name: a, Address: a})
	}
	return cfg
}

// reader prepares a polled device and returns what reads all its points.
func reader(t *testing.T, l driver.Link, cfg driver.DeviceConfig) func() ([]driver.Sample, error) {
	t.Helper()
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	r, err := d.(driver.Preparer).Prepare(cfg.Points)
	check(t, err)
	return func() ([]driver.Sample, error) {
		out := make([]driver.Sample, len(cfg.Points))
		err := r.Read(t.Context(), cfg.Points, out)
		return out, err
	}
}

// listen subscribes and returns the samples, and why it ended.
func listen(t *testing.T, l driver.Link, cfg driver.DeviceConfig) (<-chan driver.PointSample, <-chan error) {
	t.Helper()
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	samples, ended := make(chan driver.PointSample, 1000), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		ended <- d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(ctx context.Context, list []driver.PointSample, _ func()) error {
			for _, s := range list {
				select {
				case samples <- s:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return samples, ended
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func describe(s driver.Sample) string {
	text := s.Value.String() + " " + s.Value.Kind().String() + " " + s.Quality.String()
	if s.Fault != nil {
		text += " " + s.Fault.Code.String()
	}
	return text
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		t.FailNow()
	}
}
