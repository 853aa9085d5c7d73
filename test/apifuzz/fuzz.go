package apifuzz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/pack"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
	"github.com/fieldloom/fieldloom/test/plant"
)

const (
	workers = 4
	// patience bounds a call; a stream, which has no end, is followed for a moment.
	patience = 20 * time.Second
	moment   = 100 * time.Millisecond
	start    = time.Minute // of the gateway
	// most is how many failures are printed.
	most = 20
)

// A rig is a gateway that is called, and may be stopped by a call.
type rig struct {
	t       testing.TB
	bins    plant.Binaries
	dir     string
	drivers string
	archive []byte
	doc     *document
	names   []string

	mu      sync.RWMutex // held for writing while the gateway is started anew
	gateway *plant.Gateway
	client  *http.Client

	calls    atomic.Int64
	statuses sync.Map // int -> *atomic.Int64
	faults   atomic.Int64
}

// Run makes so many calls of a gateway over a simulated device. The seed decides what is
// called; the order in which the answers come is the machine's.
func Run(t *testing.T, calls int64, seed uint64) {
	r := newRig(t)
	var wg sync.WaitGroup
	for w := range uint64(workers) {
		wg.Go(func() {
			m := &maker{Rand: rand.New(rand.NewPCG(seed, w)), doc: r.doc, names: r.names}
			r.work(m, calls)
		})
	}
	wg.Wait()
	counts := map[int]int64{}
	r.statuses.Range(func(status, n any) bool { counts[status.(int)] = n.(*atomic.Int64).Load(); return true })
	t.Logf("seed %d: %d calls, by status %v", seed, r.calls.Load(), counts)
	if log := r.gateway.Log(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Errorf("something panicked")
	}
	if counts[http.StatusOK] < calls/50 || counts[http.StatusUnprocessableEntity] < calls/50 {
		t.Errorf("too few calls are well formed, or too few are not: %v", counts)
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{Name: "m1", Protocol: simulator.Modbus,
		Devices: []simulator.DeviceConfig{{Name: "m1", Unit: 1, Image: &simulator.Image{Points: []simulator.Point{
			{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()}, {Name: "set", Address: "holding:2", Writable: true}}}}}}}})
	dir := t.TempDir()
	r := &rig{t: t, bins: bins, dir: dir, drivers: filepath.Join(dir, "drivers")}
	if err := os.Mkdir(r.drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	bins.WriteConfig(t, dir, fmt.Sprintf("drivers: %q\n", r.drivers), fmt.Sprintf(`links:
  plc1:
    driver: modbus
    url: "tcp://%s"
    scan: {default: 100ms}
    devices:
      d:
        points:
          slot: {address: "holding:0:uint32"}
          set: {address: "holding:2", access: rw}
          float: {address: "holding:4:float32", access: rw}
          text: {address: "holding:6:string:8", access: rw}
          far: {address: "holding:900", access: rw}
  dead: {driver: modbus, url: "tcp://127.0.0.1:1", devices: {d: {points: {x: {address: "holding:0", access: rw}}}}}
`, sim.Addr("m1")))
	package1 := bins.Pack(t, plant.Package{Driver: "modbus"}, r.drivers)
	r.archive = archiveOf(t, package1)
	r.names = []string{"plc1", "dead", "plc1/d", "plc1/d/slot", "plc1/d/set", "plc1/d/float", "plc1/d/text", "plc1/d/far", "dead/d/x", "plc1/*/s*", "*", "d", "slot",
		"modbus", "mqtt", filepath.Base(package1), strings.TrimPrefix(filepath.Base(package1), "modbus-"), "info", "debug", "default", "10ms", "1s", "0", "5", "true"}
	r.gateway = bins.Start(t, dir)
	r.client = r.dial()
	var text []byte
	plant.Eventually(t, start, func() (err error) { text, err = r.get("/openapi.json"); return err })
	var err error
	if r.doc, err = parse(text); err != nil || len(r.doc.operations()) < 10 {
		t.Fatalf("the API's description has %d operations: %v", len(r.doc.operations()), err)
	}
	return r
}

// archiveOf is a package as it is installed.
func archiveOf(t testing.TB, dir string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.tar.gz")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pack.Archive(dir, file), file.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (r *rig) dial() *http.Client {
	socket := filepath.Join(r.dir, "data", "fieldloom.sock")
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers, IdleConnTimeout: time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}}
}

func (r *rig) get(path string) ([]byte, error) {
	got, err := r.client.Get("http://fieldloom" + path)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	return io.ReadAll(got.Body)
}

// work makes calls until all are made.
func (r *rig) work(m *maker, calls int64) {
	list := r.doc.operations()
	for n := r.calls.Add(1); n <= calls && r.faults.Load() < most; n = r.calls.Add(1) {
		if n%200 == 0 {
			r.restore()
		}
		o := list[m.IntN(len(list))]
		if strings.HasSuffix(o.path, "/stop") && m.IntN(20) > 0 {
			r.calls.Add(-1)
			continue // each costs a start of the gateway
		}
		if c := m.make(o, r.archive); strings.HasSuffix(c.path, "/stop") {
			r.stop(c)
		} else {
			r.mu.RLock()
			r.try(c)
			r.mu.RUnlock()
		}
	}
}

// stop makes a call that may stop the gateway while no other is made, and starts the
// gateway anew where it did.
func (r *rig) stop(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.try(c); a == nil || a.status != http.StatusOK || a.body == nil {
		return
	}
	r.gateway.Wait()
	r.client.CloseIdleConnections()
	r.gateway = r.bins.Start(r.t, r.dir)
	plant.Eventually(r.t, start, func() error { _, err := r.get("/v1/health"); return err })
}

// try makes one call and judges the answer.
func (r *rig) try(c *call) *answer {
	limit := patience
	if c.streams() {
		limit = moment
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	a, err := c.send(ctx, r.client)
	if err != nil {
		if ctx.Err() == nil || !c.streams() {
			r.fault(c, nil, err)
		}
		return nil
	}
	n, _ := r.statuses.LoadOrStore(a.status, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	if err := c.judge(a); err != nil {
		r.fault(c, a, err)
	}
	return a
}

func (r *rig) fault(c *call, a *answer, err error) {
	if r.faults.Add(1) > most {
		return
	}
	if a == nil {
		a = new(answer)
	}
	r.t.Errorf("%v: status %d: %v\n  %.500q", c, a.status, err, a.body)
}

// restore puts the driver back that calls have removed, disabled or taken off line.
func (r *rig) restore() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, c := range []struct{ path, body string }{
		{"/v1/drivers", string(r.archive)}, {"/v1/drivers/modbus/enable", ""}, {"/v1/online", `{"driver":"modbus"}`},
	} {
		ctx, cancel := context.WithTimeout(r.t.Context(), patience)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fieldloom"+c.path, strings.NewReader(c.body))
		if err != nil {
			r.t.Error(err)
		} else if got, err := r.client.Do(request); err == nil {
			got.Body.Close()
		}
		cancel()
	}
}
