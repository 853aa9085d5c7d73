package confine_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// envDriver makes this test binary a whole driver.
const envDriver = "TEST_DRIVER"

func serveDriver() { plugin.Serve(drivertest.NewFake()) }

// launch starts this test binary as a driver, through everything that a real one goes
// through, and gives what is in force for it.
func launch(t testing.TB, p confine.Policy, img *os.File, detach bool) (confine.Report, time.Duration) {
	t.Helper()
	dir, err := os.MkdirTemp("", "confine")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var pending *confine.Pending
	command := host.Command{
		Name: "fake", Path: "/proc/self/exe", Env: []string{envDriver + "=1"}, RunDir: dir, Detach: detach,
		Prepare: func(cmd *exec.Cmd, socketDir string) (func(error), error) {
			own := policy(t, p)
			own.RunDir = socketDir
			if pending, err = own.Prepare(cmd, img); err != nil {
				return nil, err
			}
			return pending.Started, nil
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	process, err := host.Launch(ctx, command)
	took := time.Since(began)
	report, fault := pending.Report()
	if err != nil || fault != nil {
		t.Fatalf("%v; shim: %v; %v", err, fault, &report)
	}
	if d, err := process.Describe(ctx); err != nil || d.Name != drivertest.NewFake().Info().Name {
		t.Errorf("described as %+v, %v", d, err)
	}
	if err := process.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	return report, took
}

// A driver that has nothing but its socket directory serves the gateway.
func TestDriverServes(t *testing.T) {
	img := image(t)
	for _, detach := range []bool{false, true} {
		report, _ := launch(t, confine.Policy{Mode: confine.Required}, img, detach)
		t.Logf("detach %v: %v", detach, &report)
	}
}

// The price of a start, from the same binary: as it is by path, and verified, confined
// and by descriptor. The two take turns, so that what else the machine does hits both.
func BenchmarkStart(b *testing.B) {
	img := image(b)
	var plain, confined time.Duration
	for b.Loop() {
		_, took := launch(b, confine.Policy{Mode: confine.Off}, nil, false)
		plain += took
		_, took = launch(b, confine.Policy{Mode: confine.Required}, img, false)
		confined += took
	}
	b.ReportMetric(float64(confined)/float64(plain), "ratio")
	b.ReportMetric(float64(plain.Microseconds())/float64(b.N)/1000, "plain-ms")
	b.ReportMetric(float64(confined.Microseconds())/float64(b.N)/1000, "confined-ms")
}
