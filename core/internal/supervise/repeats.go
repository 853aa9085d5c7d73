package supervise

import (
	"log/slog"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// repeats counts failures of a process in a row, for the log: each cause has a line when it
// is new, and one at growing intervals while it lasts.
type repeats struct {
	n      int
	first  time.Time
	causes []string
	again  schedule
}

// fails counts a failure, and reports whether it is to have a line that is seen.
func (r *repeats) fails(cause error, now time.Time) bool {
	if r.n == 0 {
		r.first = now
	}
	r.n++
	key := causeKey(&driver.Error{Code: driver.CodeOf(cause), Text: cause.Error()})
	switch {
	case !slices.Contains(r.causes, key) && len(r.causes) < maxCauses:
		r.causes = append(r.causes, key)
		r.again = schedule{}
	case now.Before(r.again.due):
		return false
	}
	r.again.next(now)
	return true
}

// logDown logs that a process died or did not start.
func (m *member) logDown(cause error, now time.Time, pause time.Duration) {
	level := slog.LevelDebug
	if m.repeats.fails(cause, now) {
		level = slog.LevelError
	}
	m.log().Log(m.pool.ctx, level, "driver is down", "err", cause, "retry", pause.Round(time.Millisecond),
		"failures", m.repeats.n, "within", now.Sub(m.repeats.first).Round(time.Second))
}

// logUp logs that a process that had failed is up: after one failure at once, after more when
// it has stayed up for a while.
func (m *member) logUp(now time.Time) {
	if m.repeats.n == 0 || m.repeats.n > 1 && now.Sub(m.life.started) < calm {
		return
	}
	m.log().Info("driver is up again", "for", m.life.started.Sub(m.repeats.first).Round(time.Second), "failures", m.repeats.n)
	m.repeats = repeats{}
}
