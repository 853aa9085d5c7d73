package engine

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// maxSkew is how far a grid can have come from the wall clock by steps of the
	// latter; no period needs more to keep its phase.
	maxSkew = 24 * time.Hour
	// maxSwitch is how long a link may be on its way from one process to the other
	// and still go on as if it had not been: after that, due times and what the
	// deadbands compare with say nothing any more.
	maxSwitch = 30 * time.Second
	// maxHandOff bounds what all links of one Drain hand over, so that the answer fits a
	// message.
	maxHandOff = 5 << 20
	// handLinkSize and handDeviceSize are about what a link and a device take beside texts
	// and bytes.
	handLinkSize   = 64
	handDeviceSize = 160
	// maxHandValue is the longest value that a deadband is handed: a longer one is
	// sent once more.
	maxHandValue = 4 << 10
)

// A handOff is what a drained engine gives the one that takes its links over. It is
// JSON, and opaque to everyone else. Its times are of the grid of the engine that
// wrote it, until it is read.
type handOff struct {
	Skew  int64      `json:"skew"` // of the grid from the wall clock
	Links []handLink `json:"links"`
}

// A handLink is the part of one link.
type handLink struct {
	Name    string       `json:"name"`
	At      int64        `json:"at"`              // when it was at rest
	Shift   int64        `json:"shift,omitempty"` // of its due times from the grid
	Kept    []byte       `json:"kept,omitempty"`  // the driver's own
	Devices []handDevice `json:"devices,omitempty"`

	own bool // this engine's: nobody is known to have had the link since
}

// A handDevice is the part of one device.
type handDevice struct {
	Name     string           `json:"name"`
	Due      map[string]int64 `json:"due,omitempty"`  // the next, by scan class
	First    uint32           `json:"first"`          // handle
	Last     []byte           `json:"last,omitempty"` // what the deadbands compare with, see appendSent
	Failures int              `json:"failures,omitempty"`
	Hold     int64            `json:"hold,omitempty"`  // it asked for patience until then
	Bad      int64            `json:"bad,omitempty"`   // when its points became Bad
	Told     bool             `json:"told,omitempty"`  // so they were since it was taken off line
	Probe    *handProbe       `json:"probe,omitempty"` // set: it is demoted
}

// A handProbe is the state of a demoted device.
type handProbe struct {
	At    int64       `json:"at"`
	Gap   int64       `json:"gap"`
	Since time.Time   `json:"since"`
	Code  driver.Code `json:"code"`
	Text  string      `json:"text"`
}

// move puts all times on another grid. Two processes measure the distance of their
// grids from the wall clock not to the microsecond, and a link may go back and forth
// many times: so it counts in whole milliseconds, and one of them is none.
func (l *handLink) move(delta int64) {
	delta = int64(time.Duration(delta).Round(time.Millisecond))
	if time.Duration(delta).Abs() <= time.Millisecond {
		delta = 0
	}
	if l.Shift += delta; time.Duration(l.Shift).Abs() <= time.Millisecond {
		l.Shift = 0
	}
	move := func(t *int64) {
		if *t != 0 {
			*t += delta
		}
	}
	move(&l.At)
	for i := range l.Devices {
		d := &l.Devices[i]
		move(&d.Hold)
		move(&d.Bad)
		for class, at := range d.Due {
			d.Due[class] = at + delta
		}
		if d.Probe != nil {
			move(&d.Probe.At)
		}
	}
}

func (l *handLink) device(name string) *handDevice {
	for i := range l.Devices {
		if l.Devices[i].Name == name {
			return &l.Devices[i]
		}
	}
	return nil
}

// without leaves the deadbands out: every point is sent once more.
func (l *handLink) without() handLink {
	out := *l
	out.Devices = append([]handDevice(nil), l.Devices...)
	for i := range out.Devices {
		out.Devices[i].Last = nil
	}
	return out
}

func (l *handLink) size() int {
	n := handLinkSize + len(l.Name) + len(l.Kept)*4/3 // as JSON has it
	for i := range l.Devices {
		d := &l.Devices[i]
		n += handDeviceSize + len(d.Name) + len(d.Last)*4/3
		for class := range d.Due {
			n += len(class) + 24
		}
		if d.Probe != nil {
			n += handDeviceSize + len(d.Probe.Text)
		}
	}
	return n
}

// appendSent appends what the deadband of a point compares with: the number of
// points left out since the one before, quality, kind, code and value.
func appendSent(dst []byte, skip int, s *sent) []byte {
	kind := s.value.Kind()
	dst = binary.AppendUvarint(dst, uint64(skip))
	dst = append(dst, byte(s.quality), byte(kind), byte(s.code))
	switch kind {
	case driver.KindBool:
		if s.value.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0)
	case driver.KindInt64:
		return binary.AppendVarint(dst, s.value.Int64())
	case driver.KindUint64:
		return binary.AppendUvarint(dst, s.value.Uint64())
	case driver.KindFloat64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.value.Float64()))
	case driver.KindString:
		dst = binary.AppendUvarint(dst, uint64(len(s.value.Str())))
		return append(dst, s.value.Str()...)
	case driver.KindBytes:
		dst = binary.AppendUvarint(dst, uint64(len(s.value.Bytes())))
		return append(dst, s.value.Bytes()...)
	}
	return dst
}

// parseSent reads what appendSent wrote; not ok: it did not.
func parseSent(data []byte) (skip uint64, s sent, rest []byte, ok bool) {
	skip, n := binary.Uvarint(data)
	if n <= 0 || len(data) < n+3 {
		return 0, s, nil, false
	}
	s = sent{quality: driver.Quality(data[n]), code: driver.Code(data[n+2]), valid: true}
	kind := driver.Kind(data[n+1])
	data = data[n+3:]
	switch kind {
	case driver.KindNull:
		return skip, s, data, true
	case driver.KindBool:
		if len(data) < 1 {
			return 0, s, nil, false
		}
		s.value = driver.BoolValue(data[0] != 0)
		return skip, s, data[1:], true
	case driver.KindInt64:
		v, n := binary.Varint(data)
		s.value = driver.Int64Value(v)
		return skip, s, data[max(n, 0):], n > 0
	case driver.KindFloat64:
		if len(data) < 8 {
			return 0, s, nil, false
		}
		s.value = driver.Float64Value(math.Float64frombits(binary.LittleEndian.Uint64(data)))
		return skip, s, data[8:], true
	}
	v, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, s, nil, false
	}
	data = data[n:]
	if kind == driver.KindUint64 {
		s.value = driver.Uint64Value(v)
		return skip, s, data, true
	}
	if v > uint64(len(data)) || kind > driver.KindBytes {
		return 0, s, nil, false
	}
	if s.value = driver.StringValue(string(data[:v])); kind == driver.KindBytes {
		s.value = driver.BytesValue(append([]byte(nil), data[:v]...))
	}
	return skip, s, data[v:], true
}
