package supervise

import (
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
