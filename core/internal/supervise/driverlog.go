package supervise

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// driverLog writes the lines about one driver. It may be used concurrently.
type driverLog struct {
	*slog.Logger           // for what the core does, of which every line is written
	limit        lineLimit // on what the driver causes
}

func newDriverLog(log *slog.Logger, driverName string) *driverLog {
	return &driverLog{Logger: log.With("driver", driverName)}
}

// say writes a line that the driver has caused, unless it has caused too many.
func (d *driverLog) say(level slog.Level, text string, attributes ...any) {
	if d.takes(level) {
		d.Log(context.Background(), level, text, attributes...)
	}
}

// takes reports whether there may be a line more that the driver has caused, which the caller
// writes then.
func (d *driverLog) takes(level slog.Level) bool {
	return d.Enabled(context.Background(), level) && d.limit.pass(d.Logger)
}

// A driver may cause lineBurst lines of the log at once and lineRate a second on
// average, by what it tells of its devices and of its frames.
const (
	lineBurst = 10_000
	lineRate  = 100
)

// lineLimit lets lines into the log as long as they are not too many, and counts the others.
type lineLimit struct {
	mu    sync.Mutex
	spent float64 // of lineBurst; it goes back to zero by itself
	at    time.Time
	shut  bool // until lines for a second are there
	left  int  // lines that were left out
}

// pass reports whether there may be a line more.
func (s *lineLimit) pass(log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.spent = max(0, s.spent-now.Sub(s.at).Seconds()*lineRate)
	s.at = now
	if s.spent > lineBurst-1 || s.shut && s.spent > lineBurst-lineRate {
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
