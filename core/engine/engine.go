package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
	"github.com/fieldloom/fieldloom/core/frame"
)

// Options are what an Engine is made with. The zero value works.
type Options struct {
	Log *slog.Logger
	// Store gives a link its durable map; may be nil.
	Store func(link string) driver.Store
	// Secrets gives a link what the gateway keeps secret for it; may be nil.
	Secrets func(link string) driver.Secrets
	// Gateway is who the driver works for; may be nil.
	Gateway driver.Gateway
	// RingBytes bounds the replay ring; 0: 16 MiB.
	RingBytes int
	// Spill is a directory for what does not fit into the ring while no core takes
	// it, up to SpillBytes; with Encode only. Its files are private and end with the process.
	Spill      string
	SpillBytes int64
	// Encode appends a frame with one of b and g, the other being nil, to dst. It
	// may be called concurrently and must keep neither. Nil: frames keep their
	// Batch or Gap instead, and the ring counts their bytes by an estimate.
	Encode func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte
	// OnEvent hears of every change of condition, in order for each link. It is called
	// with the link's lock held: it must neither block nor call the engine.
	OnEvent func(control.Event)
}

// An Engine runs the links of one driver. All methods may be called concurrently.
type Engine struct {
	driver  driver.Driver
	info    driver.Info
	checker driver.Checker
	o       Options
	log     *slog.Logger
	clock   *clock
	ring    *replay.Ring
	batcher *batcher
	losses  *losses
	epoch   uint64

	applying sync.Mutex // one Apply, Activate, Close or begin of a Drain at a time
	tables   []*table

	links    links
	outlet   outlet
	meters   meters
	watchdog watchdog
}

var _ control.Plane = (*Engine)(nil)

// New makes an engine without links. The caller must Close it.
func New(d driver.Driver, o Options) *Engine {
	e := &Engine{
		driver: d, info: d.Info(), o: o, log: o.Log, clock: newClock(),
		links: newLinks(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	for e.epoch == 0 {
		e.epoch = rand.Uint64()
	}
	e.checker, _ = d.(driver.Checker)
	e.batcher = newBatcher(o.RingBytes, o.Encode, e.clock)
	e.ring = e.batcher.ring
	e.outlet = outlet{ring: e.ring, batcher: e.batcher, clock: e.clock}
	e.losses = newLosses(e.ring)
	e.ring.SpillTo(o.Spill, o.SpillBytes, e.epoch, e.log.With("driver", e.info.Name))
	e.watchdog.start(e.links.all, e.batcher)
	return e
}

// A Ring numbers frames and keeps them until the core acknowledges that they are stored.
type Ring = replay.Ring

// Ring is where the frames are.
func (e *Engine) Ring() *Ring { return e.ring }

// Epoch is a random number that is new at every New, and never 0.
func (e *Engine) Epoch() uint64 { return e.epoch }

// Progress grows, about twice a second, as long as the engine goes on by itself: no
// lock is held for ever, no link has left alone what is due, samples go on to the
// ring, and no stored callback or OnEvent hangs. A driver call that hangs does not
// stop it, since that is abandoned.
func (e *Engine) Progress() uint64 { return e.watchdog.progress.Load() }

// Describe returns what the driver is.
func (e *Engine) Describe(context.Context) (control.Description, error) {
	d := control.Description{Info: e.info, ProcessEpoch: e.epoch, Abilities: []string{"links", "parts", "values", "discover"}}
	if e.checker != nil {
		d.Abilities = append(d.Abilities, "check")
	}
	return d, nil
}

// Close stops every link, as Drain does, and the engine with them. When ctx ends
// before every goroutine has, it answers ctx's error; what still runs then is a
// driver call that ignores its context.
func (e *Engine) Close(ctx context.Context) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	links, open := e.links.close()
	if !open {
		return nil
	}
	for _, l := range links {
		l.remove()
	}
	ended := make(chan struct{})
	go func() { // it ends in bounded time, because the watchdog abandons what hangs
		e.links.ended.Wait()
		e.watchdog.end()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = driver.Errorf(driver.CodeOf(ctx.Err()), "close the engine: a driver call does not return: %w", ctx.Err())
	}
	e.losses.close()
	e.batcher.close()
	e.ring.CloseSpill(ctx)
	return err
}

// Status is the state and the counters of everything.
func (e *Engine) Status(context.Context) (*control.Status, error) {
	s, _ := e.StatusPage(0, 0)
	return s, nil
}

// StatusPage is the part of Status with the links from the index first on, at most limit
// of them and 0 for all, and how many links there are. Meters of no link are in the first.
func (e *Engine) StatusPage(first, limit int) (s *control.Status, total int) {
	links := e.links.inState()
	total = len(links)
	links = links[min(first, total):]
	if limit > 0 {
		links = links[:min(limit, len(links))]
	}
	s = &control.Status{Ring: e.ring.Status(), Links: make([]control.LinkStatus, len(links))}
	for i, l := range links {
		s.Links[i] = l.status()
	}
	if len(links) == total {
		s.Meters = e.meters.read()
		return s, total
	}
	for i, l := range links {
		if i == 0 && first == 0 {
			s.Meters = e.meters.readOf(s.Meters, "")
		}
		s.Meters = e.meters.readOf(s.Meters, l.name)
	}
	return s, total
}

// Conditions is the present condition of every link and device, as events.
func (e *Engine) Conditions() []control.Event {
	var events []control.Event
	for _, l := range e.links.inState() {
		s := l.status()
		events = append(events, control.Event{Time: s.Since, Link: s.Name, Condition: s.Condition, Cause: s.Cause})
		for _, d := range s.Devices {
			events = append(events, control.Event{Time: d.Since, Link: s.Name, Device: d.Name, Condition: d.Condition, Cause: d.Cause, Pushes: d.Pushes})
		}
	}
	return events
}
