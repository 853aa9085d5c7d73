package engine

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// maxSkew is how far a grid can have come from the wall clock by steps of the
// latter; no period needs more to keep its phase.
const maxSkew = 24 * time.Hour

// A handOff is what a drained engine gives the one that takes its links over: its
// grid, when each scan class is due, and what the deadbands compare with. It is
// JSON, and opaque to everyone else.
type handOff struct {
	Skew int64       `json:"skew"` // of the grid from the wall clock
	Due  []handDue   `json:"due,omitempty"`
	Last []handValue `json:"last,omitempty"`

	due  map[[3]string]int64
	last map[uint32]sent
}

type handDue struct {
	Link   string `json:"link"`
	Device string `json:"device"`
	Class  string `json:"class"`
	At     int64  `json:"at"`
}

type handValue struct {
	Handle  uint32         `json:"handle"`
	Quality driver.Quality `json:"quality"`
	Code    driver.Code    `json:"code,omitempty"`
	Kind    driver.Kind    `json:"kind"`
	Bits    uint64         `json:"bits,omitempty"`
	Bytes   []byte         `json:"bytes,omitempty"`
}

// handOver writes a hand-off, and leaves the due times with the groups too, in
// case that this engine is activated again.
func (e *Engine) handOver(links []*link) ([]byte, error) {
	h := handOff{Skew: e.clock.skew()}
	for _, l := range links {
		l.mu.Lock()
		for _, d := range l.devices {
			h.collect(l.name, d)
		}
		l.mu.Unlock()
	}
	data, err := json.Marshal(&h)
	if err != nil {
		return nil, driver.Errorf(driver.Internal, "write the hand-off: %w", err)
	}
	return data, nil
}

func (h *handOff) collect(link string, d *device) {
	for _, g := range d.groups {
		if g.due != 0 && g.grid.period > 0 {
			g.handed = g.due
			h.Due = append(h.Due, handDue{Link: link, Device: d.spec.Name, Class: g.class.Name, At: g.due})
		}
	}
	for i := range d.last {
		if last := &d.last[i]; last.valid {
			h.Last = append(h.Last, newHandValue(d.spec.FirstHandle+uint32(i), last))
		}
	}
}

func newHandValue(handle uint32, s *sent) handValue {
	v := handValue{Handle: handle, Quality: s.quality, Code: s.code, Kind: s.value.Kind()}
	switch v.Kind {
	case driver.KindBool:
		if s.value.Bool() {
			v.Bits = 1
		}
	case driver.KindInt64:
		v.Bits = uint64(s.value.Int64())
	case driver.KindUint64:
		v.Bits = s.value.Uint64()
	case driver.KindFloat64:
		v.Bits = math.Float64bits(s.value.Float64())
	case driver.KindString:
		v.Bytes = []byte(s.value.Str())
	case driver.KindBytes:
		v.Bytes = s.value.Bytes()
	}
	return v
}

func (v *handValue) sent() sent {
	s := sent{quality: v.Quality, code: v.Code, valid: true}
	switch v.Kind {
	case driver.KindBool:
		s.value = driver.BoolValue(v.Bits != 0)
	case driver.KindInt64:
		s.value = driver.Int64Value(int64(v.Bits))
	case driver.KindUint64:
		s.value = driver.Uint64Value(v.Bits)
	case driver.KindFloat64:
		s.value = driver.Float64Value(math.Float64frombits(v.Bits))
	case driver.KindString:
		s.value = driver.StringValue(string(v.Bytes))
	case driver.KindBytes:
		s.value = driver.BytesValue(v.Bytes)
	}
	return s
}

// takeOver reads a hand-off. One that cannot be read costs what it is for and no
// more, so it is only logged.
func (e *Engine) takeOver(data []byte) {
	e.restore = nil
	if len(data) == 0 {
		return
	}
	h := &handOff{}
	if err := json.Unmarshal(data, h); err != nil {
		e.log.Warn("the hand-off cannot be read and is left out", "driver", e.info.Name, "err", err)
		return
	}
	if len(e.links) == 0 && time.Duration(h.Skew).Abs() < maxSkew {
		e.clock.adopt(h.Skew)
	}
	h.due = make(map[[3]string]int64, len(h.Due))
	for _, d := range h.Due {
		h.due[[3]string{d.Link, d.Device, d.Class}] = d.At
	}
	h.last = make(map[uint32]sent, len(h.Last))
	for i := range h.Last {
		h.last[h.Last[i].Handle] = h.Last[i].sent()
	}
	e.restore = h
}

// give hands a new device what is there for it. h may be nil.
func (h *handOff) give(link string, d *device) {
	if h == nil {
		return
	}
	for _, g := range d.groups {
		g.handed = h.due[[3]string{link, d.spec.Name, g.class.Name}]
	}
	for i := range d.last {
		d.last[i] = h.last[d.spec.FirstHandle+uint32(i)]
	}
}
