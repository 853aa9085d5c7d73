package host

import (
	"sync/atomic"
	"time"
)

// silentLooks is how often nothing must have come, look after look, until the other side
// counts as silent.
const silentLooks = 5

// A silence tells when nothing has come for a while. It counts looks and not time: a core that
// was stopped for longer than that, and goes on, is to take in first what has come meanwhile.
type silence struct {
	step    time.Duration
	end     func()
	timer   *time.Timer
	waiting atomic.Bool
	looks   atomic.Int32
}

// newSilence calls end after a silence of limit.
func newSilence(limit time.Duration, end func()) *silence {
	s := &silence{step: limit / silentLooks, end: end}
	s.timer = time.AfterFunc(limit, s.look)
	s.timer.Stop()
	return s
}

// begin begins to wait for something to come, and over ends that. One goroutine calls them.
func (s *silence) begin() {
	s.looks.Store(0)
	s.waiting.Store(true)
	s.timer.Reset(s.step)
}

func (s *silence) over() {
	s.waiting.Store(false)
	s.timer.Stop()
}

func (s *silence) look() {
	switch {
	case !s.waiting.Load():
	case s.looks.Add(1) >= silentLooks:
		s.end()
	default:
		s.timer.Reset(s.step)
	}
}
