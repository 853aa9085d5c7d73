package supervise_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// fakeProcess is a driver process that does what the test says.
type fakeProcess struct {
	recorded      chan struct{} // Record waits until it is closed; nil: it does not
	epoch         uint64
	version       string
	abilities     []string
	world         *world // that it shares with other processes
	beats         bool
	granted       int // bytes of its record
	frozen, stuck atomic.Bool
	named         atomic.Bool  // it was asked for single links
	hangs         atomic.Bool  // in Drain
	late          atomic.Int64 // nanoseconds that an answer to Status takes
	done          chan struct{}
	attached      chan *fakeAttachment // every attachment, as it is made

	mu          sync.Mutex
	exit        host.Exit
	applied     []*control.State
	removed     []int // links that each Apply removed
	steps       []int // links of each Activate
	faults      []*driver.ConfigError
	invalid     []*driver.ConfigError
	applyErr    error
	attachErr   error
	drained     control.Drained
	onDrain     func()
	released    bool
	slow        func() time.Duration // how long things take; nil: no time
	strange     bool                 // it does not prove itself
	has, opened map[string]bool
	handed      []string    // links activated, with their hand-offs
	since       []time.Time // of each activation
	activateErr error
	statusErr   error
	condition   control.Condition
	offline     map[string]bool // links that the operator has taken off line
	read        uint64          // the sequence of the newest frame in its ring
	polls       uint64
	bad         uint64 // samples of each hundred
	stopped     bool
	open        *fakeAttachment
}

// newFakeProcess makes a process. The state of every second comes in parts: those of one
// driver may be of different makes.
func newFakeProcess(epoch uint64) *fakeProcess {
	abilities := []string{"links"}
	if epoch%2 == 0 {
		abilities = append(abilities, "parts")
	}
	return &fakeProcess{epoch: epoch, version: "1.0.0", abilities: abilities, condition: control.Up, world: new(world), done: make(chan struct{}), attached: make(chan *fakeAttachment, 100)}
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
	p.exit = host.Exit{Code: -1, Signal: signal, Stderr: stderr}
	p.closeAll() // its children are killed before its death is told
	close(p.done)
	if p.open != nil {
		p.open.breakOff(errors.New("the process died"))
	}
}

func (p *fakeProcess) PID() int              { return int(1000 + p.epoch) }
func (p *fakeProcess) Done() <-chan struct{} { return p.done }

func (p *fakeProcess) Exit() host.Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

func (p *fakeProcess) Description() control.Description {
	return control.Description{Info: driver.Info{Name: "fake", Version: p.version}, Abilities: p.abilities, ProcessEpoch: p.epoch}
}

func (p *fakeProcess) Describe(context.Context) (control.Description, error) {
	return p.Description(), nil
}

func (p *fakeProcess) Validate(context.Context, *control.State) ([]*driver.ConfigError, error) {
	return p.invalid, nil
}

func (p *fakeProcess) Apply(ctx context.Context, s *control.State, o control.ApplyOptions) ([]*driver.ConfigError, error) {
	if err := p.lag(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = append(p.applied, s)
	p.removed = append(p.removed, len(o.Remove))
	if len(p.faults) > 0 || p.applyErr != nil || isDone(p.done) {
		return p.faults, p.applyErr
	}
	if !o.Part {
		p.has = make(map[string]bool)
	}
	for _, name := range o.Remove {
		delete(p.has, name)
	}
	if p.has == nil {
		p.has = make(map[string]bool)
	}
	for _, l := range s.Links {
		p.has[l.Name] = true
		p.named.Store(p.named.Load() || len(o.Hold) > 0)
		p.setOpen(l.Name, !o.Standby && !slices.Contains(o.Hold, l.Name))
	}
	for name := range p.opened {
		p.setOpen(name, p.opened[name] && p.has[name])
	}
	return nil, nil
}

// setOpen opens or closes a link. The caller holds mu.
func (p *fakeProcess) setOpen(name string, open bool) {
	if p.opened[name] == open {
		return
	}
	if p.opened == nil {
		p.opened = make(map[string]bool)
	}
	p.opened[name] = open
	p.world.set(name, p.epoch, open)
}

func (p *fakeProcess) closeAll() {
	for name := range p.opened {
		p.setOpen(name, false)
	}
}

// lag is the time that something takes.
func (p *fakeProcess) lag(ctx context.Context) error {
	if p.slow == nil {
		return nil
	}
	select {
	case <-time.After(p.slow()):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *fakeProcess) applies() []*control.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*control.State(nil), p.applied...)
}

func (p *fakeProcess) Status(ctx context.Context) (*control.Status, error) {
	if late := p.late.Load(); late > 0 {
		select {
		case <-time.After(time.Duration(late)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.statusErr != nil {
		return nil, p.statusErr
	}
	s := &control.Status{Ring: control.RingStatus{NextSequence: p.read + 1}}
	for _, name := range slices.Sorted(maps.Keys(p.has)) {
		l := control.LinkStatus{Name: name, Condition: control.Stopped}
		d := control.DeviceStatus{Name: "m1", Condition: control.Stopped}
		if p.opened[name] {
			p.polls += 100
			l.Condition, d.Condition, d.Polls, d.Samples, d.BadSamples = control.Up, p.condition, p.polls, p.polls, p.polls*p.bad/100
		}
		if p.offline[name] {
			l.Condition, l.Cause = control.Stopped, &driver.Error{Code: driver.Denied, Text: control.OfflineText}
			d.Condition, d.Cause = l.Condition, l.Cause
		}
		l.Devices = []control.DeviceStatus{d}
		s.Links = append(s.Links, l)
	}
	return s, nil
}

func (p *fakeProcess) Read(context.Context, string, string, []string) ([]control.NamedSample, error) {
	return nil, nil
}
func (p *fakeProcess) Values(context.Context, string, string, int) ([]control.LastValue, int, error) {
	return nil, 0, nil
}

func (p *fakeProcess) Write(context.Context, string, string, string, driver.Value) error { return nil }
func (p *fakeProcess) Browse(context.Context, string, string, string, int) ([]driver.Entry, error) {
	return nil, nil
}
func (p *fakeProcess) Discover(context.Context, string, driver.Candidate) (*driver.Entry, int, error) {
	return nil, 0, nil
}
func (p *fakeProcess) Check(context.Context, string, string) error { return nil }

func (p *fakeProcess) Activate(ctx context.Context, links []string, o control.ActivateOptions) error {
	if err := p.lag(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.activateErr != nil || isDone(p.done) {
		return errors.Join(p.activateErr, errors.New("cannot activate"))
	}
	if links == nil {
		links = slices.Collect(maps.Keys(p.has))
	} else {
		p.named.Store(true)
	}
	p.steps = append(p.steps, len(links))
	for _, name := range links {
		p.setOpen(name, true)
		p.handed = append(p.handed, name+":"+string(o.HandOff))
	}
	p.since = append(p.since, o.Since)
	return nil
}

func (p *fakeProcess) Drain(ctx context.Context, links []string) (control.Drained, error) {
	if p.onDrain != nil {
		p.onDrain()
	}
	if p.hangs.Load() {
		select {
		case <-ctx.Done():
			return control.Drained{}, ctx.Err()
		case <-p.done:
			return control.Drained{}, errors.New("the process died")
		}
	}
	if err := p.lag(ctx); err != nil {
		return control.Drained{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if isDone(p.done) {
		return control.Drained{}, errors.New("the process died")
	}
	if links == nil {
		links = slices.Collect(maps.Keys(p.has))
	}
	for _, name := range links {
		p.setOpen(name, false)
	}
	d := p.drained
	d.HandOff = fmt.Appendf(nil, "from %d", p.epoch)
	return d, nil
}

func (p *fakeProcess) Record() (json.RawMessage, error) {
	if p.recorded != nil {
		<-p.recorded
	}
	return fmt.Appendf(nil, `{"epoch":%d,"granted":%q}`, p.epoch, strings.Repeat("p", p.granted)), nil
}

func (p *fakeProcess) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	if p.open != nil {
		p.open.breakOff(nil)
	}
	return nil
}

func (p *fakeProcess) Stop(context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.die("killed")
	_ = p.lag(context.Background()) // it has no end
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeAll()
	return nil
}

func (p *fakeProcess) Attach(_ context.Context, h host.Hello, to host.Handler) (supervise.Attachment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attachErr != nil || isDone(p.done) {
		return nil, errors.Join(p.attachErr, errors.New("cannot attach"))
	}
	a := &fakeAttachment{hello: h, to: to, done: make(chan struct{})}
	p.open = a
	p.attached <- a
	if p.beats {
		go p.beat(a)
	}
	return a, nil
}

// beat sends heartbeats, unless the process is stopped, and progress, unless its engine
// hangs.
func (p *fakeProcess) beat(a *fakeAttachment) {
	for progress := uint64(1); ; progress += 2 {
		select {
		case <-time.After(time.Second):
		case <-a.done:
			return
		}
		if p.stuck.Load() {
			progress -= 2
		}
		if !p.frozen.Load() {
			a.to.Heartbeat(progress)
		}
	}
}

type fakeAttachment struct {
	hello host.Hello
	to    host.Handler
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
	a.to.Frame(seq, wire.AppendFrame(nil, seq, &frame.Batch{}, nil))
}

func withTimeout(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), limit)
}

func (p *fakeProcess) wasStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

func (p *fakeProcess) wasReleased() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.released
}

// sinces is since when nothing came, by the activations.
func (p *fakeProcess) sinces() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.since)
}

// activations is the links that were activated, with their hand-offs.
func (p *fakeProcess) activations() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.handed)
}

// attachment is the next one, once everything that follows from it has been done.
func (p *fakeProcess) attachment() *fakeAttachment {
	a := <-p.attached
	synctest.Wait()
	return a
}
