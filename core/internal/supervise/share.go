package supervise

import (
	"sync"
	"time"
)

// The core takes in so much of all drivers together. A driver that takes no more than its
// fair share of that never waits for another; what others leave unused a driver may have.
const (
	// capacity is in bytes a second. A plant of 100,000 samples a second takes 1.5 MB.
	capacity = 32 << 20
	// slot is the time within which shares are counted.
	slot = 100 * time.Millisecond
	// What a frame, a sample and an event count beside their bytes: a sample without a value
	// has none.
	frameCost  = 64
	sampleCost = 4
	eventCost  = 256
)

// shares is what each driver has taken of the present slot.
type shares struct {
	mu     sync.Mutex
	began  time.Time
	total  int
	used   map[*inlet]int
	active int // drivers in the slot before
}

// take counts what a driver brings, or says how long it has to wait because it has had its
// share and there is no more.
func (s *shares) take(in *inlet, cost int) (wait time.Duration) {
	const most = int(capacity / (time.Second / slot))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if gone := now.Sub(s.began); gone >= slot {
		s.next(most, int(min(gone/slot, 1000)))
		s.began = now
	}
	drivers := max(s.active, len(s.used), 1)
	if s.total >= most && s.used[in] >= most/drivers {
		return s.began.Add(slot).Sub(now)
	}
	if s.used == nil {
		s.used = make(map[*inlet]int)
	}
	s.total += cost
	s.used[in] += cost
	return 0
}

// next begins a slot, some slots later. What was taken beyond what there is, or by a driver
// beyond its share, is owed.
func (s *shares) next(most, slots int) {
	s.active = len(s.used)
	s.total = max(0, s.total-slots*most)
	for in, used := range s.used {
		if used = min(used, 2*most) - slots*most/s.active; used <= 0 {
			delete(s.used, in)
		} else {
			s.used[in] = used
		}
	}
}

// A driver may have the spool commit so often at once, and a second on average. What comes
// more often is committed together.
const (
	commitBurst = 200
	commitRate  = 100
)

// commits counts the commits of a driver.
type commits struct {
	mu    sync.Mutex
	spent float64 // of commitBurst
	at    time.Time
}

// pass reports whether there may be one more at once.
func (c *commits) pass() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.spent = max(0, c.spent-now.Sub(c.at).Seconds()*commitRate)
	c.at = now
	if c.spent > commitBurst-1 {
		return false
	}
	c.spent++
	return true
}
