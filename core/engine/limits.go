package engine

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	// mostParts is how many requests a write is given the pauses for: as many as one value
	// can be split into.
	mostParts = 128
	// longestPauses bounds the pauses of one call, so that one that hangs is found out.
	longestPauses = time.Minute
	// maxAllowance bounds what a driver may ask for.
	maxAllowance = 10 * time.Minute
)

// limits bound the calls of a link in time.
type limits struct {
	timeout time.Duration // for one request on the wire
	gap     time.Duration // before each request
	call    time.Duration // a driver's allowance for each call ...
	request time.Duration // ... and for each request
}

// limitsOf are the limits of a link that was opened.
func limitsOf(opened driver.Link, timeout, gap time.Duration) limits {
	l := limits{timeout: timeout, gap: gap}
	if p, ok := opened.(driver.Pacer); ok {
		call, request := p.Allowance()
		l.call, l.request = min(max(call, 0), maxAllowance), min(max(request, 0), maxAllowance)
	}
	return l
}

// read bounds a Read, which may take several requests of at most a time-out each: one for a
// single point, and one more for every eight points begun. The pauses are those of a request
// for each point.
func (l limits) read(points int) time.Duration {
	return l.timeout*time.Duration(1+(points+6)/8) + l.pauses(points)
}

// probe bounds the Read of one point for which the gap was kept.
func (l limits) probe() time.Duration { return l.timeout + l.call + l.request }

// write bounds a Write, which may take two requests that are not answered at once: to read what
// it does not change, and to write.
func (l limits) write() time.Duration { return 2*l.timeout + l.pauses(mostParts) }

// pauses is how long up to n requests of one call may take beside their time-outs.
func (l limits) pauses(n int) time.Duration {
	each := l.gap + l.request
	return l.call + min(each*time.Duration(n), max(longestPauses, 2*each))
}
