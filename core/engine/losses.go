package engine

import (
	"math"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
	"github.com/fieldloom/fieldloom/core/frame"
)

const (
	// lossEvery is how long what a driver has lost is gathered before it becomes a gap:
	// a flood is one gap a second.
	lossEvery = time.Second
	// maxLossText bounds the cause that a driver gives.
	maxLossText = 512
)

// losses gathers what drivers say that they have lost, and makes gaps of it.
type losses struct {
	ring *replay.Ring

	mu      sync.Mutex
	pending map[replay.Place]*frame.Gap
	timer   *time.Timer
	closed  bool

	flushing sync.Mutex // taken before mu, so that a flush ends after those before it
}

func newLosses(ring *replay.Ring) *losses {
	s := &losses{ring: ring, pending: make(map[replay.Place]*frame.Gap)}
	s.timer = time.AfterFunc(math.MaxInt64, s.flush)
	s.timer.Stop()
	return s
}

// linkLosses is driver.Env.Losses of one link.
type linkLosses struct {
	all  *losses
	link *link
}

var _ driver.Losses = linkLosses{}

// Lost takes note of a loss. It takes no lock that is held over anything that waits.
func (l linkLosses) Lost(loss driver.Loss) {
	at := replay.Place{Link: l.link.name, Device: loss.Device}
	l.link.mu.Lock()
	if l.link.roster.find(loss.Device) == nil {
		at.Device = ""
	}
	l.link.mu.Unlock()
	now := time.Now()
	if loss.To.IsZero() || loss.To.After(now) {
		loss.To = now
	}
	if loss.From.IsZero() || loss.From.After(loss.To) {
		loss.From = loss.To
	}
	if len(loss.Cause) > maxLossText {
		loss.Cause = loss.Cause[:maxLossText] + "..."
	}
	l.all.add(at, &frame.Gap{Samples: min(loss.Samples, frame.MaxGapSamples), From: loss.From, To: loss.To,
		Cause: driver.Errorf(driver.Lost, "the driver: %s", loss.Cause),
		Links: []frame.GapLink{{Link: at.Link, Device: at.Device, Uncounted: loss.Samples == 0}}})
}

func (s *losses) add(at replay.Place, g *frame.Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.pending[at]
	if before == nil {
		if len(s.pending) == 0 && !s.closed {
			s.timer.Reset(lossEvery)
		}
		s.pending[at] = g
		return
	}
	before.Join(g)
}

// flush makes gaps of what was gathered.
func (s *losses) flush() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	pending := s.pending
	s.pending = make(map[replay.Place]*frame.Gap)
	s.mu.Unlock()
	for at, g := range pending {
		s.ring.LostBy(at, g)
	}
}

// close flushes, and starts no timer any more.
func (s *losses) close() {
	s.mu.Lock()
	s.closed = true
	s.timer.Stop()
	s.mu.Unlock()
	s.flush()
}
