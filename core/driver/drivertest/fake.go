package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A Fake is a driver for tests. Its links and devices exist as soon as they are
// asked for, by the test or by the engine, and keep their script across reopening.
// An address is the name of a value that the test has set; an empty one, and one
// that begins with "bad", is wrong. All methods may be called concurrently.
type Fake struct {
	mu    sync.Mutex
	links map[string]*FakeLink
}

var (
	_ driver.Driver  = (*Fake)(nil)
	_ driver.Checker = (*Fake)(nil)
)

// NewFake makes a driver without any link.
func NewFake() *Fake { return &Fake{links: map[string]*FakeLink{}} }

// Info describes the fake.
func (f *Fake) Info() driver.Info {
	return driver.Info{
		Name: "fake", Version: "1.0.0",
		LinkSchema:    []byte(`{"type":"object","properties":{"note":{"type":"string"}},"additionalProperties":false}`),
		DeviceSchema:  []byte(`{"type":"object","properties":{"note":{"type":"string"}},"additionalProperties":false}`),
		AddressSchema: []byte(`{"type":"string","minLength":1}`),
	}
}

type fakeSettings struct {
	Note string `json:"note"`
}

// Check finds wrong settings and addresses.
func (f *Fake) Check(cfg driver.LinkConfig, devices []driver.DeviceConfig) error {
	var faults []error
	if err := driver.DecodeSettings(cfg.Settings, &fakeSettings{}); err != nil {
		faults = append(faults, &driver.ConfigError{Text: err.Error()})
	}
	for _, d := range devices {
		faults = append(faults, checkDevice(d))
	}
	return errors.Join(faults...)
}

func checkDevice(cfg driver.DeviceConfig) error {
	var faults []error
	if err := driver.DecodeSettings(cfg.Settings, &fakeSettings{}); err != nil {
		faults = append(faults, &driver.ConfigError{Device: cfg.Name, Text: err.Error()})
	}
	for _, p := range cfg.Points {
		if p.Address == "" || len(p.Address) >= 3 && p.Address[:3] == "bad" {
			faults = append(faults, &driver.ConfigError{
				Device: cfg.Name, Point: p.Name, Key: "address", Text: fmt.Sprintf("%q is no address", p.Address),
			})
		}
	}
	return errors.Join(faults...)
}

// Link gives the script of a link.
func (f *Fake) Link(name string) *FakeLink {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.links[name]
	if l == nil {
		l = &FakeLink{name: name, devices: map[string]*FakeDevice{}}
		f.links[name] = l
	}
	return l
}

// Open opens a link as its script says.
func (f *Fake) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	if err := driver.DecodeSettings(cfg.Settings, &fakeSettings{}); err != nil {
		return nil, err
	}
	return f.Link(cfg.Name).open(ctx, cfg, env)
}

// A FakeLink is the script of a link, and what happened to it.
type FakeLink struct {
	name string

	mu      sync.Mutex
	devices map[string]*FakeDevice
	openErr error
	late    bool
	hang    map[string]chan struct{} // by what: "open", "close"
	window  int
	current *wire
	env     driver.Env // of the last Open
	opens   []time.Time
	wires   int // open
	most    int
	keep    func() ([]byte, error)
	kept    [][]byte
	places  []string // candidates
	asked   []driver.Candidate
}

// Device gives the script of a device on the link.
func (l *FakeLink) Device(name string) *FakeDevice {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.devices[name]
	if d == nil {
		d = &FakeDevice{name: name, values: map[string]driver.Sample{}, subscribed: make(chan struct{})}
		l.devices[name] = d
	}
	return d
}

// Lose tells of a loss, as a driver does whose queue is full.
func (l *FakeLink) Lose(loss driver.Loss) {
	l.mu.Lock()
	env := l.env
	l.mu.Unlock()
	env.Lost(loss)
}

// FailOpen makes every Open fail with err, until it is nil.
func (l *FakeLink) FailOpen(err error) { l.mu.Lock(); defer l.mu.Unlock(); l.openErr = err }

// ConnectsLate makes the link, when it is opened next, a driver.Lazy: Open does not fail, but
// while FailOpen has an error every call on the link does.
func (l *FakeLink) ConnectsLate() { l.mu.Lock(); defer l.mu.Unlock(); l.late = true }

// SetWindow makes the link, when it is opened next, a driver.Pipeliner. 0: it is none.
func (l *FakeLink) SetWindow(n int) { l.mu.Lock(); defer l.mu.Unlock(); l.window = n }

// Hang makes Open ("open") or Close ("close") ignore its context until release is called.
func (l *FakeLink) Hang(call string) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hang == nil {
		l.hang = map[string]chan struct{}{}
	}
	c := make(chan struct{})
	l.hang[call] = c
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.hang[call] == c {
			delete(l.hang, call)
			close(c)
		}
	}
}

// Break cuts the wire: every call on it fails with NotConnected until it is opened again.
func (l *FakeLink) Break() {
	l.mu.Lock()
	w := l.current
	l.mu.Unlock()
	if w != nil {
		w.cut()
	}
}

// Opens tells when Open was called.
func (l *FakeLink) Opens() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Time(nil), l.opens...)
}

// Keeps makes the link, when it is opened next, a driver.Keeper that answers what
// keep does. nil: it is none. keep may be called from any goroutine.
func (l *FakeLink) Keeps(keep func() ([]byte, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep = keep
}

// Kept tells what each Open was given of what the link before had kept.
func (l *FakeLink) Kept() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([][]byte(nil), l.kept...)
}

// MostOpen tells how many wires were open at the same time at most.
func (l *FakeLink) MostOpen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// Connected reports whether the link is open.
func (l *FakeLink) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != nil
}

func (l *FakeLink) open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	l.mu.Lock()
	l.opens = append(l.opens, time.Now())
	l.kept = append(l.kept, cfg.Kept)
	hang := l.hang["open"]
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
	l.mu.Lock()
	err, window, late := l.openErr, l.window, l.late
	l.mu.Unlock()
	if err == nil || late {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	w := &wire{script: l, cfg: cfg, dead: make(chan struct{}), window: window, late: late}
	l.mu.Lock()
	l.current, l.env = w, env
	l.wires++
	l.most = max(l.most, l.wires)
	keep := l.keep
	l.mu.Unlock()
	switch {
	case window > 0 && keep != nil:
		return struct {
			pipelined
			keeper
		}{pipelined{w}, keeper{keep}}, nil
	case window > 0:
		return pipelined{w}, nil
	case keep != nil:
		return struct {
			*wire
			keeper
		}{w, keeper{keep}}, nil
	}
	return w, nil
}

// keeper is what makes a wire one that keeps.
type keeper struct{ keep func() ([]byte, error) }

// Keep answers what the script says.
func (k keeper) Keep(context.Context) ([]byte, error) { return k.keep() }

// A wire is an open link.
type wire struct {
	script *FakeLink
	cfg    driver.LinkConfig
	window int
	late   bool
	once   sync.Once
	dead   chan struct{}
	closed bool
}

var errCut = &driver.Error{Code: driver.NotConnected, Text: "the wire is cut"}

func (w *wire) cut() { w.once.Do(func() { close(w.dead) }) }

func (w *wire) isDead() bool {
	select {
	case <-w.dead:
		return true
	default:
		return false
	}
}

// Lazy is as the script says.
func (w *wire) Lazy() bool { return w.late }

// connect is what a call on a link that connects late meets first.
func (w *wire) connect() error {
	w.script.mu.Lock()
	defer w.script.mu.Unlock()
	if !w.late {
		return nil
	}
	return w.script.openErr
}

// Device prepares a device.
func (w *wire) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	if w.isDead() {
		return nil, errCut
	}
	if err := checkDevice(cfg); err != nil {
		return nil, err
	}
	return w.script.Device(cfg.Name).handle(w), nil
}

// Close ends the wire.
func (w *wire) Close(context.Context) error {
	w.cut()
	w.script.mu.Lock()
	hang := w.script.hang["close"]
	if !w.closed {
		w.closed = true
		w.script.wires--
	}
	if w.script.current == w {
		w.script.current = nil
	}
	w.script.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return nil
}

// pipelined is a wire that takes several calls at a time.
type pipelined struct{ *wire }

// Window is as the script says.
func (p pipelined) Window() int { return p.window }
