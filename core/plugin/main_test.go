package plugin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// envMode makes this test binary something else: the driver process of the test,
// its core, or a child of its driver.
const envMode = "TEST_MODE"

func TestMain(m *testing.M) {
	mode, argument, _ := strings.Cut(os.Getenv(envMode), ":")
	if mode == "" {
		goleak.VerifyTestMain(m)
		return
	}
	play, ok := modes()[mode]
	if !ok {
		fmt.Fprintln(os.Stderr, "unknown mode", mode)
		os.Exit(3)
	}
	play(argument)
	os.Exit(0)
}

func modes() map[string]func(argument string) {
	return map[string]func(string){
		"fake":      func(string) { plugin.ServeBackend(newFake) },
		"parent":    parent,
		"serve":     func(string) { plugin.Serve(counting{}) },
		"flood":     flood,
		"crash":     crash,
		"loud":      loud,
		"version":   func(version string) { fmt.Printf("1|%s|unix|/nowhere|grpc|\n", version); hang() },
		"plain":     func(string) { os.Unsetenv("PLUGIN_CLIENT_CERT"); plugin.ServeBackend(newFake) },
		"mute":      func(string) { hang() },
		"endless":   func(string) { fmt.Print(strings.Repeat("e", 20_000)); hang() },
		"hold":      func(string) { hang() },
		"spew":      spew,
		"dribble":   dribble,
		"nest":      nest,
		"elsewhere": elsewhere,
		"core":      core,
		"saturate":  saturate,
		"bare":      bare,
		"detacher":  detacher,
		"talk":      talk,
		"trier":     trier,
		"later":     later,
		"handshake": func(line string) { fmt.Println(line); hang() },
	}
}

// hang waits for a signal that kills.
func hang() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	<-c
}

// parent is a driver that starts a child which holds its pipes: in the driver's
// session, or, as "detached", in one of its own. The child's number goes to stderr.
func parent(kind string) {
	child := exec.Command(os.Args[0])
	child.Env = []string{envMode + "=hold"}
	child.Stderr = os.Stderr // and no stdout: that is the handshake's
	if kind == "detached" {
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "child %d\n", child.Process.Pid)
	plugin.ServeBackend(newFake)
}

// later floods when it is told to.
func later(megabytes string) {
	watchSignals(func(os.Signal) {
		write(megabytes)
	})
	plugin.ServeBackend(newFake)
}

// watchSignals calls f for every SIGUSR1 and SIGUSR2.
func watchSignals(f func(os.Signal)) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range c {
			f(s)
		}
	}()
}

// flood writes megabytes to stderr, and what crashes go-plugin's own parser.
func flood(megabytes string) {
	write(megabytes)
	plugin.ServeBackend(newFake)
}

func write(megabytes string) {
	n, err := strconv.Atoi(megabytes)
	if err != nil {
		panic(err)
	}
	w := bufio.NewWriterSize(os.Stderr, 64<<10)
	fmt.Fprintln(w, `{"@message":1}`)
	line := strings.Repeat("x", 1023) + "\n"
	for range n << 10 {
		_, _ = w.WriteString(line)
	}
	_, _ = w.WriteString(strings.Repeat("y", 1<<20) + "\n")
	_ = w.Flush()
	// The core may be emptying the file, which loses what comes just then.
	<-time.After(50 * time.Millisecond)
	for { // the file of a detached process may be full, until somebody shortens it
		if _, err := fmt.Fprint(os.Stderr, "\nthe last line\n"); err == nil {
			return
		}
		<-time.After(time.Millisecond)
	}
}

func crash(string) {
	fmt.Fprintln(os.Stderr, "no such device")
	os.Exit(7)
}

func loud(string) {
	fmt.Println("hello from the author")
	plugin.ServeBackend(newFake)
}

// core launches a driver, prints its number and directory, and waits to be killed.
func core(mode string) {
	p, err := host.Launch(context.Background(), command(mode))
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID(), p.Identity().Address)
	hang()
}

// command runs this test binary as a driver.
func command(mode string) host.Command {
	return host.Command{Name: "fake", Path: os.Args[0], Env: []string{envMode + "=" + mode}}
}

// launch starts a driver that is stopped with the test.
func launch(t testing.TB, c host.Command) *host.Process {
	t.Helper()
	if c.RunDir == "" {
		c.RunDir = t.TempDir()
	}
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(c.RunDir); err != nil || len(left) != 0 {
			t.Errorf("left in the run directory: %v %v", left, err)
		}
	})
	return p
}

// fake is the engine of the test's driver: it answers what the tests ask.
type fake struct {
	plugin.Inside
	ring *fakeRing
}

const (
	fakeEpoch  = 4711
	fakeFrames = 1000
)

func newFake(in plugin.Inside) plugin.Backend {
	f := &fake{Inside: in, ring: newFakeRing(fakeFrames)}
	return plugin.Backend{
		Control: f, Ring: f.ring, Epoch: fakeEpoch,
		Progress: func() uint64 { return 5 },
		Conditions: func() []control.Event {
			return []control.Event{{Link: "line1", Condition: control.Up}, {Link: "line1", Device: "m1", Condition: control.Down}}
		},
	}
}

func (f *fake) Describe(context.Context) (control.Description, error) {
	return control.Description{Info: driver.Info{Name: "fake", Version: "1.2.3"}, Abilities: []string{"links", "values", "discover"}, ProcessEpoch: fakeEpoch}, nil
}

func (f *fake) Validate(_ context.Context, s *control.State) ([]*driver.ConfigError, error) {
	return []*driver.ConfigError{{Link: s.Links[0].Name, Key: "url", Text: "no such host"}}, nil
}

func (f *fake) Apply(_ context.Context, s *control.State, o control.ApplyOptions) ([]*driver.ConfigError, error) {
	if !o.Standby || string(o.HandOff) != "phases" || s.Revision != 9 {
		return nil, driver.Errorf(driver.InvalidConfig, "unexpected: %+v", o)
	}
	return nil, nil
}

func (f *fake) Status(context.Context) (*control.Status, error) {
	return &control.Status{Links: []control.LinkStatus{{Name: "line1", Devices: []control.DeviceStatus{}}}}, nil
}

// Read answers by the name of the link what the test wants to know.
func (f *fake) Read(ctx context.Context, link, device string, points []string) ([]control.NamedSample, error) {
	text := ""
	switch link {
	case "env":
		text = strings.Join(os.Environ(), "\x00")
	case "args":
		text = strings.Join(os.Args, " ")
	case "stdin":
		text, _ = os.Readlink("/proc/self/fd/0")
	case "print":
		fmt.Println(strings.Repeat("printed by the driver\n", 10000)) // far more than a pipe holds
	case "log":
		f.Log.Warn("from the driver", "link", device)
	case "event":
		f.Event(control.Event{Link: "line1", Condition: control.Degraded, Cause: driver.Errorf(driver.Timeout, "silent")})
	case "huge":
		text = strings.Repeat("x", 9<<20)
	case "100 MB":
		text = strings.Repeat("x", 100<<20)
	case "debug":
		f.Log.Debug("seen by a developer")
		f.Log.Info("seen by all")
	case "secret":
		value, err := f.Secrets(device).Secret(ctx, points[0])
		if err != nil {
			return nil, err
		}
		text = string(value)
	case "gateway":
		name, now, err := f.Gateway.Gateway(ctx)
		if err != nil || now.IsZero() {
			return nil, driver.Errorf(driver.Internal, "%v %v", now, err)
		}
		text = name
	case "block":
		<-ctx.Done()
		return nil, ctx.Err()
	case "panic":
		panic("the driver has a bug")
	case "store":
		return f.useStore(ctx, device, points)
	}
	return []control.NamedSample{{Point: link, Sample: driver.GoodSample(driver.StringValue(text))}}, nil
}

func (f *fake) useStore(ctx context.Context, link string, keys []string) ([]control.NamedSample, error) {
	store := f.Store(link)
	var samples []control.NamedSample
	for _, key := range keys {
		before, err := store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if err := store.Put(ctx, key, []byte("kept "+key)); err != nil {
			return nil, err
		}
		after, err := store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if before != nil {
			return nil, errors.New("a value before the first Put")
		}
		samples = append(samples, control.NamedSample{Point: key, Sample: driver.GoodSample(driver.BytesValue(after))})
	}
	return samples, nil
}

// Values answers what the test gave, in two pages.
func (f *fake) Values(_ context.Context, link, device string, first int) (values []control.LastValue, next int, err error) {
	at := time.Unix(7, 8).UTC()
	all := []control.LastValue{
		{Point: link, Sample: driver.Sample{Value: driver.Float64Value(1.5), Quality: driver.Good, Time: at}, Since: at.Add(-time.Hour)},
		{Point: device, Sample: driver.Sample{Time: at, Fault: driver.Errorf(driver.Timeout, "silent")}, Good: driver.StringValue("on"), GoodTime: at.Add(-time.Minute)},
	}
	return all[first : first+1], 1 - first, nil
}

// Write fails with the code that the value says, or with what became of it.
func (f *fake) Write(_ context.Context, _, _, _ string, v driver.Value) error {
	switch v.Str() {
	case "slow": // the tests are told that it has begun
		f.Log.Warn("writing")
		time.Sleep(300 * time.Millisecond)
		return nil
	case "not sent":
		return driver.Errorf(driver.NotConnected, "%w: the line is closed", driver.ErrNotSent)
	case "in part":
		return driver.Errorf(driver.Denied, "%w: the second half is refused", driver.ErrMayBeDone)
	}
	if code := driver.Code(v.Int64()); code != driver.OK {
		return driver.Errorf(code, "refused with %v", code)
	}
	return nil
}

func (f *fake) Browse(_ context.Context, _, _, prefix string, limit int) ([]driver.Entry, error) {
	return []driver.Entry{{Address: prefix + strconv.Itoa(limit), Kind: driver.KindBool, Writable: true}}, nil
}

// Discover tells what it was asked; within "far" and "loud" it answers what no driver should.
func (f *fake) Discover(_ context.Context, _ string, c driver.Candidate) (*driver.Entry, int, error) {
	switch c.Within {
	case "far":
		return nil, 1 << 30, nil
	case "loud":
		return &driver.Entry{Name: strings.Repeat("ä", 1<<19), Value: "\xff"}, 1, nil
	case "empty":
		return nil, 3, nil
	case "away":
		return nil, 0, driver.Errorf(driver.NotConnected, "the line is down")
	}
	return &driver.Entry{Name: fmt.Sprintf("%d %s %v %v", c.Number, c.Within, c.Patience, c.Identify), Value: "v", Likely: true}, 7, nil
}

func (f *fake) Drain(_ context.Context, links []string) (control.Drained, error) {
	if slices.Equal(links, []string{"ignored"}) {
		hang()
	}
	return control.Drained{LastSequence: fakeFrames, HandOff: []byte("phases" + strings.Join(links, ","))}, nil
}

func (f *fake) Activate(_ context.Context, links []string, o control.ActivateOptions) error {
	if len(links) == 0 {
		return nil
	}
	since := "nobody"
	if !o.Since.IsZero() {
		since = o.Since.UTC().Format(time.RFC3339Nano)
	}
	return driver.Errorf(driver.Lost, "activate %s with %s since %s", strings.Join(links, ","), o.HandOff, since)
}

func (f *fake) Check(_ context.Context, link, device string) error {
	return driver.Errorf(driver.NotConnected, "check %s of %s", device, link)
}

// waitFor waits for c, for as long as a test may hang.
func waitFor[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s after 30 s", what)
	}
	return v
}
