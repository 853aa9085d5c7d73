package supervise_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/simulator"
)

// plant is real driver processes that poll a simulator, which is the witness.
type plant struct {
	t     *testing.T
	sim   *simulator.Simulator
	spool *spool.Spool
	sh    *shelf
	o     supervise.Options
	s     *supervise.Supervisor
	log   *syncBuffer
	state *control.State
	seen  sync.Map // handle: the slots in the order of storage
	mu    sync.Mutex
	gaps  []string
}

// realProcess is a *host.Process behind the supervisor's interface.
type realProcess struct{ *host.Process }

func processOf(p *host.Process, err error) (supervise.Process, error) {
	if err != nil {
		return nil, err
	}
	return realProcess{p}, nil
}

func (p realProcess) Record() (json.RawMessage, error) { return json.Marshal(p.Process.Record()) }

func (p realProcess) Attach(ctx context.Context, h host.Hello, to host.Handler) (supervise.Attachment, error) {
	a, err := p.Process.Attach(ctx, h, to)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// syncBuffer is written by many.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newPlant(t *testing.T, devices int, period time.Duration) *plant {
	t.Helper()
	cfg := simulator.ModbusFleet(devices, 10, simulator.Ports)
	sim, err := simulator.Run(context.Background(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "driver-modbus")); err != nil {
		t.Fatal(err)
	}
	store, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	run, err := os.MkdirTemp("", "sv") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	p := &plant{t: t, sim: sim, spool: store, sh: &shelf{active: "1.0"}, log: new(syncBuffer)}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	command := host.Command{Name: "modbus", Path: filepath.Join(dir, "driver-modbus"), Log: log, RunDir: run}
	launch := func(ctx context.Context, spec supervise.LaunchSpec) (supervise.Process, error) {
		c := command
		c.Detach, c.OnLine = spec.Detach, spec.OnLine
		return processOf(host.Launch(ctx, c))
	}
	adopt := func(ctx context.Context, r supervise.Record) (supervise.Process, error) {
		record, err := wire.ParseRecord(r.Process)
		if err != nil {
			return nil, err
		}
		return processOf(host.Reattach(ctx, record, command))
	}
	p.o = supervise.Options{Log: log, Launch: launch, Adopt: adopt, Image: p.sh.image, Spool: tellingSpool{store, p.stored},
		CoreEpoch: 1, Records: filepath.Join(dir, "records")}
	p.s = supervise.New(p.o)
	p.state = p.plan(devices, period)
	t.Cleanup(func() {
		p.s.Close(false)
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

// plan polls the slot of every device of the fleet, each on its own link.
func (p *plant) plan(devices int, period time.Duration) *control.State {
	table := &control.Table{Points: []control.Point{{Name: "slot", Address: "holding:0:uint32", Readable: true}}}
	s := &control.State{Revision: 1}
	for i := range devices {
		name := fmt.Sprintf("m%d", i+1)
		s.Links = append(s.Links, control.Link{Name: name, Timeout: time.Second,
			Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s"}`, p.sim.Addr(name))), Classes: []control.Class{{Name: "c", Period: period}},
			Devices: []control.Device{{Name: name, Settings: json.RawMessage(`{"unit":1}`), Table: table, FirstHandle: uint32(i + 1)}}})
	}
	return s
}

func (p *plant) stored(r spool.Record) {
	_, b, g, err := wire.DecodeFrame(r.Data)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if g != nil {
		p.gaps = append(p.gaps, g.Cause.Text)
	}
	if b == nil {
		return
	}
	for s := range b.Samples() {
		if s.Fault != nil {
			continue
		}
		list, _ := p.seen.LoadOrStore(s.Handle, new([]uint64))
		slots := list.(*[]uint64)
		*slots = append(*slots, s.Value.Uint64())
	}
}

// slot is how often a device was polled.
func (p *plant) slot(i int) uint64 { return p.sim.Device(fmt.Sprintf("m%d", i+1)).Slot() }

// await waits until every device was polled n times more.
func (p *plant) await(n uint64) {
	p.t.Helper()
	var until []uint64
	for i := range p.state.Links {
		until = append(until, p.slot(i)+n)
	}
	for i := range p.state.Links {
		for p.slot(i) < until[i] {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-p.t.Context().Done():
				p.t.Fatal("nothing is polled any more")
			}
		}
	}
}

// check wants every slot of the witness once, and in order.
func (p *plant) check() (worst time.Duration) {
	p.t.Helper()
	p.s.Close(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.state.Links {
		list, _ := p.seen.Load(uint32(i + 1))
		if list == nil {
			p.t.Errorf("nothing of device %d was stored", i+1)
			continue
		}
		slots := *list.(*[]uint64)
		if n := p.slot(i); uint64(len(slots)) != n || !slices.IsSorted(slots) || slots[0] != 1 || slots[n-1] != n {
			p.t.Errorf("device %d was polled %d times, stored are %d slots from %d to %d, in order: %v",
				i+1, n, len(slots), slots[0], slots[len(slots)-1], slices.IsSorted(slots))
		}
		counts, _ := p.sim.Witness().Device(fmt.Sprintf("m%d", i+1))
		worst = max(worst, time.Duration(counts.MaxGap*float64(time.Second)))
	}
	return worst
}

func (p *plant) want(d supervise.Desired) {
	d.State = p.state
	p.s.Set(map[string]supervise.Desired{"modbus": d})
}

func TestRealUpgradesLoseNothing(t *testing.T) {
	const period = 100 * time.Millisecond
	p := newPlant(t, 10, period)
	d := supervise.Desired{Instances: 2, Probation: 300 * time.Millisecond}
	p.want(d)
	p.await(3)
	for i := range 5 {
		if err := p.s.Upgrade(t.Context(), "modbus", fmt.Sprintf("%d.0", 2-i%2), nil); err != nil {
			t.Fatal(err)
		}
		p.await(2)
	}
	d.Instances = 3
	p.want(d)
	p.await(5)
	d.Instances = 1
	p.want(d)
	p.await(5)
	worst := p.check()
	if len(p.gaps) > 0 {
		t.Errorf("gaps: %q", p.gaps)
	}
	t.Logf("the longest interval was %v at a period of %v", worst, period)
}

func TestRealCoreRestartsLoseNothing(t *testing.T) {
	const period = 50 * time.Millisecond
	p := newPlant(t, 10, period)
	d := supervise.Desired{Instances: 2, Detach: true}
	p.want(d)
	p.await(3)
	for range 3 {
		before := p.pids()
		p.s.Close(true)
		p.await(5) // without any core
		p.o.CoreEpoch++
		p.o.LastRun = time.Now()
		p.s = supervise.New(p.o)
		p.want(d)
		p.await(3)
		if after := p.pids(); !slices.Equal(before, after) {
			t.Errorf("processes %v, and %v before the restart", after, before)
		}
	}
	worst := p.check()
	if len(p.gaps) > 0 {
		t.Errorf("gaps: %q", p.gaps)
	}
	t.Logf("the longest interval was %v at a period of %v", worst, period)
}

// pids is the processes' numbers, once both are ready.
func (p *plant) pids() []int {
	p.settled(2)
	var list []int
	for _, proc := range p.s.Status(p.t.Context())[0].Processes {
		list = append(list, proc.PID)
	}
	slices.Sort(list)
	return list
}

func TestRealKillsAreRepaired(t *testing.T) {
	for name, standby := range map[string]int{"cold": 0, "standby": 1} {
		t.Run(name, func(t *testing.T) {
			const period = 50 * time.Millisecond
			p := newPlant(t, 10, period)
			p.want(supervise.Desired{Standby: standby})
			p.await(3)
			var pauses []time.Duration
			for range 5 {
				p.settled(1 + standby)
				status := p.s.Status(t.Context())[0]
				before := p.slot(0)
				_ = syscall.Kill(status.PID, syscall.SIGKILL)
				killed := time.Now()
				for p.slot(0) <= before+1 { // one may be on its way
					select {
					case <-time.After(time.Millisecond):
					case <-t.Context().Done():
						t.Fatal("nothing is polled any more")
					}
				}
				pauses = append(pauses, time.Since(killed))
				if err := p.s.Enable("modbus"); err != nil { // a death forgiven
					t.Fatal(err)
				}
				p.await(3)
			}
			p.s.Close(false)
			if len(p.gaps) != 5 {
				t.Errorf("%d gaps of five deaths: %q", len(p.gaps), p.gaps)
			}
			slices.Sort(pauses)
			t.Logf("from the kill to the second next sample: median %v, worst %v, at a period of %v", pauses[2], pauses[4], period)
		})
	}
}

// settled waits until n processes are ready.
func (p *plant) settled(n int) {
	for {
		ready := 0
		for _, proc := range p.s.Status(p.t.Context())[0].Processes {
			if proc.State == supervise.Active || proc.State == supervise.Standby {
				ready++
			}
		}
		if ready == n {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.t.Context().Done():
			p.t.Fatal("they do not get ready")
		}
	}
}
