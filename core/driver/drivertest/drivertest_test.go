package drivertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func points(addresses ...string) []driver.Point {
	var p []driver.Point
	for _, a := range addresses {
		p = append(p, driver.Point{Name: "p-" + a, Address: a})
	}
	return p
}

// setup is what the fake itself is tried with.
func setup(f *drivertest.Fake) drivertest.Setup {
	d := f.Link("l").Device("d")
	d.Set("a", driver.Int64Value(1))
	d.Set("b", driver.StringValue("x"))
	f.Link("l").Device("dead").Silence(true)
	f.Link("l").Candidates("dead", "nobody", "d")
	return drivertest.Setup{
		Driver:    f,
		Link:      driver.LinkConfig{Name: "l"},
		Device:    driver.DeviceConfig{Name: "d", Points: points("a", "b")},
		BadLinks:  []json.RawMessage{[]byte(`{"x":1}`), []byte(`[]`)},
		BadDevice: driver.DeviceConfig{Name: "d", Points: points("bad1", "a", "bad2")},
		Missing:   driver.Point{Name: "gone", Address: "gone"},
		Writes:    []drivertest.WriteCase{{Point: "p-a", Value: driver.Float64Value(2.5)}},
		Silent:    driver.DeviceConfig{Name: "dead", Points: points("a")},
		Browsed:   "b",
		Found:     "d", FoundWithin: "dead,d",
		Lacks: []drivertest.Ability{
			drivertest.Prepare, drivertest.Subscribe, drivertest.Pipeline, drivertest.Keep, drivertest.Refusal,
		},
	}
}

func TestFakeConforms(t *testing.T) {
	t.Run("polled", func(t *testing.T) { drivertest.Run(t, setup(drivertest.NewFake())) })
	t.Run("prepared and pipelined", func(t *testing.T) {
		f := drivertest.NewFake()
		s := setup(f)
		f.Link("l").SetWindow(4)
		f.Link("l").Keeps(func() ([]byte, error) { return []byte("kept"), nil })
		f.Link("l").Device("d").Prepares()
		s.Lacks = []drivertest.Ability{drivertest.Subscribe, drivertest.Refusal}
		drivertest.Run(t, s)
	})
	t.Run("pushed", func(t *testing.T) {
		f := drivertest.NewFake()
		s := setup(f)
		d := f.Link("l").Device("d")
		d.Pushes()
		s.Push = func(t testing.TB) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			sample := driver.PointSample{Point: 1, Sample: driver.GoodSample(driver.StringValue("y"))}
			if err := d.Emit(ctx, []driver.PointSample{sample}, nil); err != nil {
				t.Errorf("emit: %v", err)
			}
		}
		s.Missing, s.Browsed = driver.Point{}, ""
		s.Lacks = []drivertest.Ability{
			drivertest.Prepare, drivertest.Read, drivertest.Browse, drivertest.Pipeline, drivertest.Keep,
			drivertest.Refusal, drivertest.Missing,
		}
		drivertest.Run(t, s)
	})
}

func TestFakeWaitsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := drivertest.NewFake()
		d := f.Link("l").Device("d")
		d.Set("a", driver.BoolValue(true))
		d.Delay(time.Hour)
		l, err := f.Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second}, driver.Env{})
		if err != nil {
			t.Fatal(err)
		}
		handle, err := l.Device(t.Context(), driver.DeviceConfig{Name: "d", Points: points("a")})
		if err != nil {
			t.Fatal(err)
		}
		begun, out := time.Now(), make([]driver.Sample, 1)
		if err := handle.(driver.Reader).Read(t.Context(), points("a"), out); err != nil || !out[0].Value.Bool() {
			t.Errorf("read: %v, %+v", err, out)
		}
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("took %v", took)
		}
		d.Fail(driver.Errorf(driver.Busy, "later"))
		if err := handle.(driver.Reader).Read(t.Context(), points("a"), out); driver.CodeOf(err) != driver.Busy {
			t.Errorf("read: %v", err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// ExampleFake runs one read of a scripted device.
func ExampleFake() {
	f := drivertest.NewFake()
	f.Link("line1").Device("meter").Set("power", driver.Float64Value(230))
	ctx := context.Background()
	link, _ := f.Open(ctx, driver.LinkConfig{Name: "line1", Timeout: time.Second}, driver.Env{})
	device, _ := link.Device(ctx, driver.DeviceConfig{Name: "meter"})
	out := make([]driver.Sample, 1)
	_ = device.(driver.Reader).Read(ctx, []driver.Point{{Address: "power"}}, out)
	fmt.Println(out[0].Value, out[0].Quality)
	// Output: 230 good
}

// broken is a driver with one thing wrong.
type broken struct {
	*drivertest.Fake
	wrong string
}

func (b broken) Info() driver.Info {
	info := b.Fake.Info()
	if b.wrong == "info" {
		info.Version = time.Now().String()
	}
	return info
}

func (b broken) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	if b.wrong == "settings" {
		cfg.Settings = nil
	}
	l, err := b.Fake.Open(ctx, cfg, env)
	if b.wrong == "leak" && err == nil {
		go func() { select {} }()
	}
	if b.wrong == "dead" && err == nil {
		return undead{l}, nil
	}
	return l, err
}

// undead is a link that Close does not close.
type undead struct{ driver.Link }

func (undead) Close(context.Context) error { return nil }

const wrongEnv = "DRIVERTEST_WRONG"

// TestBroken fails by intent, in the process that TestKitFindsFaults starts.
func TestBroken(t *testing.T) {
	wrong := os.Getenv(wrongEnv)
	if wrong == "" {
		t.Skip("runs in a process of its own")
	}
	f := drivertest.NewFake()
	s := setup(f)
	s.Driver = broken{f, wrong}
	switch wrong {
	case "undeclared":
		s.Lacks = s.Lacks[1:]
	case "silent skip":
		s.Writes = nil
	}
	drivertest.Run(t, s)
}

func TestKitFindsFaults(t *testing.T) {
	for wrong, scenario := range map[string]string{
		"info":        "--- FAIL: TestBroken/info_is_stable",
		"settings":    "--- FAIL: TestBroken/open_refuses_wrong_settings",
		"leak":        "--- FAIL: TestBroken/no_goroutine_is_left",
		"dead":        "--- FAIL: TestBroken/close_twice",
		"undeclared":  "--- FAIL: TestBroken/abilities",
		"silent skip": "give Setup.Writes or declare it in Setup.Lacks",
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestBroken$")
			cmd.Env = append(os.Environ(), wrongEnv+"="+wrong)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), scenario) {
				t.Errorf("%v, want %q in:\n%s", err, scenario, out)
			}
		})
	}
}
