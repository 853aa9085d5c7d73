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

// Timely tells whether a sample may have a time and be Good.
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

// add counts one more, and tells whether it is one too many for the first time.
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

// isConvicted tells that the process is being killed: nothing of it is taken any more.
func (o *offences) isConvicted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.convicted
}

// offend notes what the process did, and kills it when that was once too often.
func (i *intake) offend(why error) {
	i.pool.noteRefusal(why)
	if n, convicted := i.offences.add(time.Now()); convicted {
		i.convict(fmt.Errorf("what it sends was refused %d times, and it is killed; the last time: %w", n, why))
	}
}

func (i *intake) convict(why error) {
	p := i.pool
	p.do(func() {
		if l := p.lifeOf(i); l != nil {
			l.kill(&offence{why})
		}
	})
}

// lifeOf is the life whose intake i is; nil: it is over. The caller holds mu.
func (p *pool) lifeOf(i *intake) *life {
	for _, m := range p.members {
		if m.life != nil && &m.life.intake == i {
			return m.life
		}
	}
	return nil
}

// inspect checks a frame and returns what is to be stored: the frame, the frame with
// samples from the future made Uncertain, or a gap in its place. It is nil for a frame that
// has no place.
func (i *intake) inspect(seq uint64, frame []byte, now time.Time) ([]byte, wire.Contents) {
	if last := i.last.Load(); seq > last && seq-last > maxJump {
		i.pool.noteRefusal(nil)
		i.offences.convict()
		i.convict(fmt.Errorf("it sent frame %d after frame %d, and is killed: there cannot be so many between them", seq, last))
		return nil, wire.Contents{}
	}
	within := wire.Bounds{Earliest: now.Add(-oldest).UnixNano(), Latest: now.Add(clockStep).UnixNano()}
	if handles := i.pool.s.o.Handles; handles != nil {
		within.Handles = handles(i.pool.kind)
	}
	found, err := wire.Inspect(frame, within)
	if err == nil && found.IsGap && found.First != 0 && found.First <= i.floor.Load() {
		err = fmt.Errorf("a gap of frames %d to %d, of which frame %d was stored", found.First, found.Last, i.floor.Load())
	}
	if ahead := now.Add(clockWidth).UnixNano(); err == nil && found.Samples > 0 && found.Newest > ahead {
		frame, err = i.doubt(seq, frame, found.Newest, now)
	}
	if err == nil && found.Links {
		frame, err = i.ownGap(seq, frame)
	}
	if err != nil {
		return i.refuse(seq, frame, err, now), wire.Contents{}
	}
	return frame, found
}

// ownGap lets a gap of a driver name its own links and devices only. What it may not name was
// lost all the same, and may have been its own until just now: it loses its name.
func (i *intake) ownGap(seq uint64, frame []byte) ([]byte, error) {
	_, _, g, err := wire.DecodeFrame(frame)
	if err != nil {
		return nil, err
	}
	i.pool.mu.Lock()
	defer i.pool.mu.Unlock()
	for k := range g.Links {
		l := &g.Links[k]
		if i.pool.links[l.Link] == nil {
			l.Link, l.Device = "", ""
		} else if l.Device != "" && !i.pool.knows(place{l.Link, l.Device}) {
			l.Device = ""
		}
	}
	return wire.AppendFrame(nil, seq, nil, g), nil
}

func (o *offences) convict() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.convicted = true
}

// doubt makes samples from the future Uncertain.
func (i *intake) doubt(seq uint64, frame []byte, newest int64, now time.Time) ([]byte, error) {
	p := i.pool
	ahead := time.Duration(min(newest-now.UnixNano(), math.MaxInt64)).Round(time.Second)
	p.log.say(slog.LevelWarn, "samples from the future are stored as uncertain: set the clock of the device, or of the gateway", "frame", seq, "ahead", ahead)
	return wire.Doubt(frame, now.Add(clockWidth).UnixNano(),
		driver.Errorf(driver.BadValue, "its time was %v ahead of the gateway's clock when it came", ahead))
}

// refuse returns the gap that takes the place of a frame. What was in the frame nobody knows:
// its count of samples is not believed either.
func (i *intake) refuse(seq uint64, data []byte, why error, now time.Time) []byte {
	p := i.pool
	p.log.say(slog.LevelError, "frame refused", "frame", seq, "bytes", len(data), "err", why)
	i.offend(fmt.Errorf("frame %d: %w", seq, why))
	p.gaps.Add(1)
	return wire.AppendFrame(nil, seq, nil, &frame.Gap{FirstSeq: seq, LastSeq: seq, From: time.Unix(0, i.lastAt.Load()), To: now,
		Cause: driver.Errorf(driver.Lost, "driver %s: frame %d of %d bytes was refused: %w", p.kind, seq, len(data), why)})
}

// refuseEvent notes a condition of what is not the driver's.
func (i *intake) refuseEvent(e control.Event) {
	p := i.pool
	why := fmt.Errorf("the condition of link %.64q, device %.64q, which it does not have", e.Link, e.Device)
	p.log.say(slog.LevelError, "event refused", "err", why)
	i.offend(why)
}
