package supervise_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// rig is a supervisor whose processes are fakes, in the order of their starts.
type rig struct {
	t        *testing.T
	s        *supervise.Supervisor
	spool    *fakeSpool
	starts   chan *fakeProcess
	fail     atomic.Pointer[error] // of launches
	make     func(*fakeProcess)    // called for each before it is handed out; may be nil
	beats    bool                  // they send heartbeats by themselves
	specs    []supervise.LaunchSpec
	all      []*fakeProcess
	world    world
	shared   *world        // that of an earlier core; nil: world
	adopting chan struct{} // not nil: adopting its processes waits for it to be closed
	mu       sync.Mutex
	times    []time.Time
	log      syncBuffer
}

func newRig(t *testing.T, change func(*supervise.Options)) *rig {
	r := emptyRig(t)
	r.begin(change)
	return r
}

// emptyRig is a rig without its supervisor yet.
func emptyRig(t *testing.T) *rig {
	return &rig{t: t, spool: &fakeSpool{}, starts: make(chan *fakeProcess, 1000)}
}

// begin makes the supervisor. It may adopt and launch at once, so what they use is set
// before.
func (r *rig) begin(change func(*supervise.Options)) {
	o := supervise.Options{
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Launch: func(_ context.Context, spec supervise.LaunchSpec) (supervise.Process, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.times = append(r.times, time.Now())
			if fail := r.fail.Load(); fail != nil {
				return nil, *fail
			}
			p := newFakeProcess(uint64(len(r.times)))
			p.world = r.theWorld()
			if spec.Image != nil {
				p.version = spec.Image.Version()
			}
			p.beats = r.beats
			r.specs = append(r.specs, spec)
			r.all = append(r.all, p)
			if r.make != nil {
				r.make(p)
			}
			r.starts <- p
			return p, nil
		},
		Spool: r.spool, CoreEpoch: 7,
	}
	if change != nil {
		change(&o)
	}
	r.s = supervise.New(o)
}

// follow makes a rig that has not begun that of the core after another.
func (r *rig) follow(before *rig) {
	before.mu.Lock()
	defer before.mu.Unlock()
	r.spool, r.all, r.times = before.spool, slices.Clone(before.all), slices.Clone(before.times)
	r.shared = before.theWorld()
}

func (r *rig) theWorld() *world {
	if r.shared != nil {
		return r.shared
	}
	return &r.world
}

func (r *rig) failWith(text string) {
	err := errors.New(text)
	r.fail.Store(&err)
}

func (r *rig) set(revision uint64) {
	r.want(supervise.Desired{State: state(revision, "line")})
}

func (r *rig) want(d supervise.Desired) { r.s.Set(map[string]supervise.Desired{"fake": d}) }

func state(revision uint64, links ...string) *control.State {
	s := &control.State{Revision: revision}
	for _, name := range links {
		s.Links = append(s.Links, control.Link{Name: name, Devices: []control.Device{{Name: "m1"}}})
	}
	return s
}

func (r *rig) status() supervise.Status {
	r.t.Helper()
	list := r.s.Status(r.t.Context())
	if len(list) != 1 {
		r.t.Fatalf("%d drivers in the status, want 1", len(list))
	}
	return list[0]
}

func (r *rig) wantStory(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.spool.story()); diff != "" {
		r.t.Errorf("in the spool (-want +got):\n%s", diff)
	}
}

// logged is the log once everything of this instant is done.
func (r *rig) logged() string {
	synctest.Wait()
	return r.log.String()
}

func (r *rig) launches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}

func (r *rig) spec(i int) supervise.LaunchSpec {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.specs[i]
}

// started is how many processes this core has started.
func (r *rig) started() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.specs)
}

// everyone is all processes, also those of earlier cores.
func (r *rig) everyone() []*fakeProcess {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// tellingSpool tells of every record once it is stored.
type tellingSpool struct {
	supervise.Spool
	stored func(spool.Record)
}

func (s tellingSpool) Append(r spool.Record, stored func(error)) {
	s.Spool.Append(r, func(err error) {
		stored(err)
		if err == nil {
			s.stored(r)
		}
	})
}
