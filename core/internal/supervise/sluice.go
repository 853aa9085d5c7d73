package supervise

import (
	"log/slog"
	"sync"
	"time"
)

// A driver may cause sluiceBurst lines of the log at once and sluiceRate a second on
// average, by what it tells of its devices and of its frames.
const (
	sluiceBurst = 10_000
	sluiceRate  = 100
)

// sluice lets lines into the log as long as they are not too many, and counts the others.
type sluice struct {
	mu    sync.Mutex
	spent float64 // of sluiceBurst; it goes back to zero by itself
	at    time.Time
	shut  bool // until lines for a second are there
	left  int  // lines that were left out
}

// pass tells whether there may be a line more.
func (s *sluice) pass(log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.spent = max(0, s.spent-now.Sub(s.at).Seconds()*sluiceRate)
	s.at = now
	if s.spent > sluiceBurst-1 || s.shut && s.spent > sluiceBurst-sluiceRate {
		s.shut = true
		s.left++
		return false
	}
	if s.left > 0 {
		log.Warn("the driver tells more than is logged: status has the present state", "lines", s.left)
	}
	s.shut, s.left = false, 0
	s.spent++
	return true
}
