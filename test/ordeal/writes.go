package ordeal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/test/plant"
)

// told is the answer that a caller got to a write.
type told uint8

const (
	written told = iota
	notWritten
	unconfirmed
)

var toldNames = [...]string{"written", "not written", "unconfirmed"}

// writing is the callers: one for each device, with one write after the other, each of a
// value that no other has.
type writing struct {
	f    *Field
	left atomic.Int64  // writes that are still to be made, those that were not sent aside
	next atomic.Uint32 // value

	mu      sync.Mutex
	told    []map[uint32]told // by device and value
	reasons map[string]int
}

// pause is how long a caller waits after a write that was not sent, before the next one.
const pause = 20 * time.Millisecond

// Writes has callers write n values in all to the devices of o, while the driver and the
// core are killed, each time as soon as all is well again. What was told as written
// is in the device once, what was told as not written is not, and what may have been
// written is there once or not at all.
func Writes(t testing.TB, o Options, n int) {
	t.Helper()
	f := newField(t, o)
	began := time.Now()
	w := &writing{f: f, told: make([]map[uint32]told, o.Devices), reasons: make(map[string]int)}
	w.left.Store(int64(n))
	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	t.Cleanup(func() { stop(); callers.Wait() })
	for i := range o.Devices {
		w.told[i] = make(map[uint32]told)
		callers.Go(func() { w.call(ctx, i) })
	}
	drivers, cores := 0, 0
	for w.left.Load() > 0 {
		victim := f.active(0)
		w.await(rand.IntN(5 * o.Devices))
		if (drivers+cores)%3 == 2 {
			f.G.Kill()
			f.start(f.bins)
			cores++
			continue
		}
		if _, err := f.API.Enable(t.Context(), "modbus"); err != nil { // as in Kills
			t.Fatal(err)
		}
		switch err := syscall.Kill(victim.PID, syscall.SIGKILL); err {
		case nil:
			drivers++
		case syscall.ESRCH: // killed before, and the core did not know yet
		default:
			t.Fatal(err)
		}
	}
	callers.Wait()
	f.active(0)
	f.polled(3) // a write that is still on its way comes before the polls
	f.end()
	w.judge(drivers, cores, time.Since(began))
}

// await waits until so many more writes have come to an end.
func (w *writing) await(n int) {
	goal := max(0, w.left.Load()-int64(n))
	plant.Eventually(w.f.t, patience, func() error {
		if left := w.left.Load(); left > goal {
			return fmt.Errorf("%d writes are left, %d are to be", left, goal)
		}
		return nil
	})
}

// call writes to a device until enough was written. One write in eight is not waited for
// to its end.
func (w *writing) call(ctx context.Context, device int) {
	c := client.New(w.f.socket())
	defer c.Close()
	point := linkName(device) + "/d/target"
	for ctx.Err() == nil && w.left.Load() > 0 {
		value := w.next.Add(1)
		limited, cancel := context.WithCancel(ctx)
		if rand.IntN(8) == 0 {
			time.AfterFunc(rand.N(4*time.Millisecond), cancel)
		}
		_, err := c.Write(limited, client.WriteRequest{Point: point, Value: json.RawMessage(strconv.FormatUint(uint64(value), 10))})
		cancel()
		if w.note(device, value, err) == notWritten {
			time.Sleep(pause)
		} else {
			w.left.Add(-1)
		}
	}
}

// note keeps the answer to a write.
func (w *writing) note(device int, value uint32, err error) told {
	outcome, reason := written, ""
	var e *client.Error
	switch {
	case errors.Is(err, client.ErrUnconfirmed):
		outcome = unconfirmed
	case err != nil:
		outcome = notWritten
	}
	switch {
	case errors.As(err, &e):
		reason = fmt.Sprintf(": %d %s", e.Status, e.Code)
	case errors.Is(err, client.ErrUnreachable):
		reason = ": no gateway"
	case err != nil:
		reason = ": no answer"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[device][value] = outcome
	w.reasons[toldNames[outcome]+reason]++
	return outcome
}

// judge holds what was told against what the devices executed.
func (w *writing) judge(drivers, cores int, took time.Duration) {
	t := w.f.t
	t.Helper()
	var counts [len(toldNames)]int
	executed, twice, lost, wrong := 0, 0, 0, 0
	for i, all := range w.told {
		times := w.f.executed(i)
		for value, outcome := range all {
			n := times[value]
			counts[outcome]++
			executed += n
			switch {
			case n > 1:
				twice++
			case n == 0 && outcome == written:
				lost++
			case n > 0 && outcome == notWritten:
				wrong++
			}
			delete(times, value)
		}
		for value := range times {
			t.Errorf("%s: %d was written, and nobody asked for it", deviceName(i), value)
		}
	}
	if twice+lost+wrong > 0 {
		t.Errorf("%d values were written twice, %d were told as written and were not, %d were told as not written and were", twice, lost, wrong)
	}
	if counts[unconfirmed] == 0 || drivers+cores < 3 {
		t.Errorf("the kills hit no write: %d writes unconfirmed in %d kills", counts[unconfirmed], drivers+cores)
	}
	figure(t, "writes under kills", "writes", counts[written]+counts[notWritten]+counts[unconfirmed],
		"told_written", counts[written], "told_not_written", counts[notWritten], "told_unconfirmed", counts[unconfirmed],
		"executed", executed, "twice", twice, "lost", lost, "told_wrongly", wrong, "told", w.reasons,
		"driver_kills", drivers, "core_kills", cores, "took_ms", took, "machine_busy", w.f.pulse.busy())
}

// executed counts how often each value was written to a device.
func (f *Field) executed(i int) map[uint32]int {
	d := f.Sim.Device(deviceName(i))
	all := d.Writes()
	if n := d.Counts().Writes; n != uint64(len(all)) {
		f.t.Fatalf("%s executed %d writes and remembers %d: use more devices", deviceName(i), n, len(all))
	}
	times := make(map[uint32]int)
	for _, w := range all {
		if len(w.Words) == 2 {
			times[uint32(w.Words[0])<<16|uint32(w.Words[1])]++
		}
	}
	return times
}
