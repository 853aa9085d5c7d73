package simulator

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// store is where a device keeps its points. The device's mutex guards it.
type store interface {
	find(point string) (int, bool)
	set(point int, v signal.Value, at moment)
	get(point int, at moment) signal.Value
	isSlot(point int) bool
}

// moment is when a store is asked, and what its slot is then.
type moment struct {
	elapsed time.Duration
	seed    uint64
	slot    uint64
}

// Device is the handle of one running device. Its methods may be called concurrently.
type Device struct {
	server *Server
	name   string
	unit   byte
	seed   uint64
	fault  atomic.Pointer[Fault]
	since  atomic.Int64 // when the fault began, in ns after the start

	mu    sync.Mutex
	store store
	tally tally
	hit   int // requests that a fault of every k-th has looked at
}

// Name returns the device's name.
func (d *Device) Name() string { return d.name }

// Unit returns the Modbus unit id that the device answers, 1 when it answers any.
func (d *Device) Unit() byte { return max(d.unit, 1) }

// Addr returns the address of the device's server.
func (d *Device) Addr() string { return d.server.Addr() }

// Server returns the device's server.
func (d *Device) Server() *Server { return d.server }

// Fault puts the device under a fault; it replaces one that is there, and goes before the server's.
func (d *Device) Fault(f Fault) error {
	if err := f.check(d.server.protocol, false); err != nil {
		return fmt.Errorf("device %s: %w", d.name, err)
	}
	d.since.Store(int64(d.elapsed(time.Now())))
	d.fault.Store(&f)
	return nil
}

// Clear ends the device's fault.
func (d *Device) Clear() { d.fault.Store(nil) }

// current returns the fault that counts for the device now, or nil.
func (d *Device) current() *Fault {
	if f := d.fault.Load(); f != nil {
		return f
	}
	f := d.server.fault.Load()
	if f != nil && d.server.protocol == MQTT && f.Kind != Silent && f.Kind != Slow {
		return nil // on the broker's connections, not in its devices
	}
	return f
}

// faultSince is when the fault that counts began, after the start.
func (d *Device) faultSince() time.Duration {
	if d.fault.Load() != nil {
		return time.Duration(d.since.Load())
	}
	return time.Duration(d.server.since.Load())
}

func (d *Device) elapsed(now time.Time) time.Duration { return max(now.Sub(d.server.sim.started), 0) }

// moment is to be called with the mutex held.
func (d *Device) moment() moment {
	return moment{elapsed: d.elapsed(time.Now()), seed: d.seed, slot: d.tally.issued}
}

// chance is a number for what a fault makes up: the same for the same seed and as many requests
// and answers.
func (d *Device) chance() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seed + d.tally.requests + d.tally.answers<<32
}

// Set puts a value (a bool, number or string) at a point, writable or not. The point's signal
// does not count any more.
func (d *Device) Set(point string, value any) error {
	v, err := signal.Of(value)
	if err != nil {
		return fmt.Errorf("set %s/%s: %w", d.name, point, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.store.find(point)
	if !ok {
		return fmt.Errorf("set %s/%s: the device has no such point", d.name, point)
	}
	if d.store.isSlot(i) {
		return fmt.Errorf("set %s/%s: a slot counts by itself", d.name, point)
	}
	d.store.set(i, v, d.moment())
	return nil
}

// Get returns what a client would read at a point now: int64, uint64, float64, bool or string.
// Looking does not count as a poll.
func (d *Device) Get(point string) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.store.find(point)
	if !ok {
		return nil, fmt.Errorf("get %s/%s: the device has no such point", d.name, point)
	}
	return d.store.get(i, d.moment()).Any(), nil
}

// Slot returns the number of polls that the device has served to the last byte, or of messages
// that it has sent.
func (d *Device) Slot() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tally.polls
}

// Unserved returns the slot values that were given out in an answer that could not be written
// to its end while a later one was on its way: values that a client may lack although it lost
// nothing. It keeps the first 4,096.
func (d *Device) Unserved() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tally.unserved)
}

// PollTimes returns when each poll that was served had been asked for, to 10 us, oldest first;
// only the first Config.Times are kept.
func (d *Device) PollTimes() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tally.times.all(d.server.sim.started)
}

// Writes returns the writes that the device executed, oldest first; only the first 4,096 are kept.
func (d *Device) Writes() []Write {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tally.kept)
}

// Counts returns what the device counted.
func (d *Device) Counts() DeviceCounts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tally.counts()
}
