package supervise

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// What comes from a process is checked before it is stored: a driver speaks for its own
// links, of the present, and of what there is. What breaks that is refused; a gap record of
// the core stands in its place.

const (
	// clockWidth is how far ahead of the gateway's clock a sample may be: clocks of devices
	// are not set well. Up to clockStep ahead it is stored, and is not Good: the gateway's
	// own clock may have been set back.
	clockWidth = 5 * time.Minute
	clockStep  = 24 * time.Hour
	// oldest is how old a sample may be: a device may give what it has kept for long. One
	// with the time of a clock that was never set is older.
	oldest = 366 * 24 * time.Hour
	// maxJump is how many frames may be left out: no process makes so many between two.
	maxJump = 1 << 32
	// maxOffences is what a process may do before it is killed, and offenceEvery the time
	// after which one is forgotten.
	maxOffences  = 16
	offenceEvery = time.Minute
)

// Timely reports whether a sample may have a time and be Good.
func Timely(t, now time.Time) bool {
	return !t.Before(now.Add(-oldest)) && !t.After(now.Add(clockWidth))
}

// An offence is why a process was killed that broke the rules of the boundary.
type offence struct{ error }

func (o *offence) Unwrap() error { return o.error }

func isOffence(err error) bool {
	var o *offence
	return errors.As(err, &o)
}

// offences counts what a process did.
type offences struct {
	mu        sync.Mutex
	count     int
	spent     float64 // of maxOffences; it goes back to zero by itself
	at        time.Time
	convicted bool
}

// add counts one more, and reports whether it is one too many for the first time.
func (o *offences) add(now time.Time) (count int, convicted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spent = max(0, o.spent-now.Sub(o.at).Seconds()/offenceEvery.Seconds()) + 1
	o.at = now
	o.count++
	convicted = o.spent > maxOffences && !o.convicted
	o.convicted = o.convicted || convicted
	return o.count, convicted
}

func (o *offences) convict() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.convicted = true
}

// isConvicted reports whether the process is being killed: nothing of it is taken any more.
func (o *offences) isConvicted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.convicted
}

// gate checks what one process sends before it is stored, and counts what it refused. All but
// offences, which have a lock of their own, is constant.
type gate struct {
	in       *inlet
	owner    owner
	frames   *ledger // of the process
	offences offences
}

// isConvicted reports whether the process is being killed for what it sent.
func (g *gate) isConvicted() bool { return g.offences.isConvicted() }

// offend notes what the process did, and kills it when that was once too often.
func (g *gate) offend(why error) {
	g.in.counts.refuse(why)
	if n, convicted := g.offences.add(time.Now()); convicted {
		g.owner.convict(fmt.Errorf("what it sends was refused %d times, and it is killed; the last time: %w", n, why))
	}
}

// inspect checks a frame and returns what is to be stored: the frame, the frame with
// samples from the future made Uncertain, or a gap in its place. It is nil for a frame that
// has no place.
func (g *gate) inspect(seq uint64, frame []byte, now time.Time) ([]byte, wire.Contents) {
	if last := g.frames.takenUpTo(); seq > last && seq-last > maxJump {
		g.in.counts.refuse(nil)
		g.offences.convict()
		g.owner.convict(fmt.Errorf("it sent frame %d after frame %d, and is killed: there cannot be so many between them", seq, last))
		return nil, wire.Contents{}
	}
	found, err := wire.Inspect(frame, g.in.bounds(now))
	if floor := g.frames.floor.Load(); err == nil && found.IsGap && found.First != 0 && found.First <= floor {
		err = fmt.Errorf("a gap of frames %d to %d, of which frame %d was stored", found.First, found.Last, floor)
	}
	if ahead := now.Add(clockWidth).UnixNano(); err == nil && found.Samples > 0 && found.Newest > ahead {
		frame, err = g.doubt(seq, frame, found.Newest, now)
	}
	if err == nil && found.Links {
		frame, err = g.ownGap(seq, frame)
	}
	if err != nil {
		return g.refuse(seq, frame, err, now), wire.Contents{}
	}
	return frame, found
}

// ownGap lets a gap of a driver name its own links and devices only. What it may not name was
// lost all the same, and may have been its own until just now: it loses its name.
func (g *gate) ownGap(seq uint64, frame []byte) ([]byte, error) {
	_, _, gap, err := wire.DecodeFrame(frame)
	if err != nil {
		return nil, err
	}
	g.owner.disown(gap.Links)
	return wire.AppendFrame(nil, seq, nil, gap), nil
}

// doubt makes samples from the future Uncertain.
func (g *gate) doubt(seq uint64, frame []byte, newest int64, now time.Time) ([]byte, error) {
	ahead := time.Duration(min(newest-now.UnixNano(), math.MaxInt64)).Round(time.Second)
	g.in.log.say(slog.LevelWarn, "samples from the future are stored as uncertain: set the clock of the device, or of the gateway", "frame", seq, "ahead", ahead)
	return wire.Doubt(frame, now.Add(clockWidth).UnixNano(),
		driver.Errorf(driver.BadValue, "its time was %v ahead of the gateway's clock when it came", ahead))
}

// refuse returns the gap that takes the place of a frame. What was in the frame nobody knows:
// its count of samples is not believed either.
func (g *gate) refuse(seq uint64, data []byte, why error, now time.Time) []byte {
	g.in.log.say(slog.LevelError, "frame refused", "frame", seq, "bytes", len(data), "err", why)
	g.offend(fmt.Errorf("frame %d: %w", seq, why))
	g.in.counts.gaps.Add(1)
	return wire.AppendFrame(nil, seq, nil, &frame.Gap{FirstSeq: seq, LastSeq: seq, From: g.frames.lastCame(), To: now,
		Cause: driver.Errorf(driver.Lost, "driver %s: frame %d of %d bytes was refused: %w", g.in.driver, seq, len(data), why)})
}

// refuseEvent notes a condition of what is not the driver's.
func (g *gate) refuseEvent(e control.Event) {
	why := fmt.Errorf("the condition of link %.64q, device %.64q, which it does not have", e.Link, e.Device)
	g.in.log.say(slog.LevelError, "event refused", "err", why)
	g.offend(why)
}
