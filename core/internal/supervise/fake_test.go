package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// fakeProcess is a driver process that does what the test says.
type fakeProcess struct {
	epoch    uint64
	done     chan struct{}
	attached chan *fakeAttachment // every attachment, as it is made

	mu        sync.Mutex
	exit      plugin.Exit
	applied   []*engine.State
	faults    []engine.ConfigFault
	applyErr  error
	attachErr error
	drained   engine.Drained
	onDrain   func()
	stopped   bool
	open      *fakeAttachment
}

func newFakeProcess(epoch uint64) *fakeProcess {
	return &fakeProcess{epoch: epoch, done: make(chan struct{}), attached: make(chan *fakeAttachment, 100)}
}

// die ends the process as a signal would.
func (p *fakeProcess) die(signal string, stderr ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return
	default:
	}
	p.exit = plugin.Exit{Code: -1, Signal: signal, Stderr: stderr}
	close(p.done)
	if p.open != nil {
		p.open.breakOff(errors.New("the process died"))
	}
}

func (p *fakeProcess) PID() int              { return int(1000 + p.epoch) }
func (p *fakeProcess) Done() <-chan struct{} { return p.done }

func (p *fakeProcess) Exit() plugin.Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

func (p *fakeProcess) Description() engine.Description {
	return engine.Description{Info: driver.Info{Name: "fake", Version: "1.0.0"}, ProcessEpoch: p.epoch}
}

func (p *fakeProcess) Describe(context.Context) (engine.Description, error) {
	return p.Description(), nil
}

func (p *fakeProcess) Validate(context.Context, *engine.State) ([]engine.ConfigFault, error) {
	return nil, nil
}

func (p *fakeProcess) Apply(_ context.Context, s *engine.State, _ engine.ApplyOptions) ([]engine.ConfigFault, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = append(p.applied, s)
	return p.faults, p.applyErr
}

func (p *fakeProcess) applies() []*engine.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*engine.State(nil), p.applied...)
}

func (p *fakeProcess) Status(context.Context) (*engine.Status, error) {
	return &engine.Status{Links: []engine.LinkStatus{{Name: "line", Condition: engine.Up}}}, nil
}

func (p *fakeProcess) Read(context.Context, string, string, []string) ([]engine.NamedSample, error) {
	return nil, nil
}
func (p *fakeProcess) Write(context.Context, string, string, string, driver.Value) error { return nil }
func (p *fakeProcess) Browse(context.Context, string, string, string, int) ([]driver.Entry, error) {
	return nil, nil
}
func (p *fakeProcess) Activate(context.Context, []string, []byte) error { return nil }
func (p *fakeProcess) Check(context.Context, string, string) error      { return nil }

func (p *fakeProcess) Drain(context.Context, []string) (engine.Drained, error) {
	if p.onDrain != nil {
		p.onDrain()
	}
	return p.drained, nil
}

func (p *fakeProcess) Stop(context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.die("killed")
	return nil
}

func (p *fakeProcess) Attach(_ context.Context, h plugin.Hello, to plugin.Handler) (supervise.Attachment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attachErr != nil {
		return nil, p.attachErr
	}
	a := &fakeAttachment{hello: h, to: to, done: make(chan struct{})}
	p.open = a
	p.attached <- a
	return a, nil
}

type fakeAttachment struct {
	hello plugin.Hello
	to    plugin.Handler
	done  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	err   error
	acked uint64
}

func (a *fakeAttachment) breakOff(err error) {
	a.once.Do(func() {
		a.mu.Lock()
		a.err = err
		a.mu.Unlock()
		close(a.done)
	})
}

func (a *fakeAttachment) Done() <-chan struct{} { return a.done }
func (a *fakeAttachment) Close() error          { a.breakOff(nil); return nil }

func (a *fakeAttachment) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func (a *fakeAttachment) Ack(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked = max(a.acked, seq)
}

func (a *fakeAttachment) ackedUpTo() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acked
}

// frame sends an encoded batch of nothing.
func (a *fakeAttachment) frame(seq uint64) {
	a.to.Frame(seq, plugin.AppendFrame(nil, seq, &engine.Batch{}, nil))
}

// fakeSpool stores in memory, at once or when released.
type fakeSpool struct {
	mu      sync.Mutex
	records []spool.Record
	marks   map[string][2]uint64
	hold    chan struct{} // not nil: Append blocks until it is closed
}

func (s *fakeSpool) Append(r spool.Record, stored func(error)) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	if s.marks == nil {
		s.marks = make(map[string][2]uint64)
	}
	mark := s.marks[r.Driver]
	if mark[0] != r.Epoch || r.Sequence > mark[1] {
		s.records = append(s.records, r)
		s.marks[r.Driver] = [2]uint64{r.Epoch, r.Sequence}
	}
	s.mu.Unlock()
	stored(nil)
}

func (s *fakeSpool) Mark(name string) (epoch, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[name]
	return m[0], m[1]
}

// story is what is stored: "fake 1/2" for a frame, the cause for a gap.
func (s *fakeSpool) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.records {
		if r.Driver != "" {
			list = append(list, fmt.Sprintf("%s %d/%d", r.Driver, r.Epoch, r.Sequence))
			continue
		}
		if _, _, g, err := plugin.DecodeFrame(r.Data); err == nil && g != nil {
			list = append(list, "gap: "+g.Cause.Text)
		}
	}
	return list
}
