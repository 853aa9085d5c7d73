package driver

import (
	"context"
	"time"
)

// A Discoverer is a Link that can look for devices which nobody has configured. It looks at one
// candidate a call, with one request, which the engine makes behind everything else that waits
// for the link: a search of any length delays nobody by more than one time-out, and can be
// given up between any two.
type Discoverer interface {
	// Discover asks one candidate, with one request that changes nothing in a device, and returns
	// who is there, or nil where nobody answers; and how many candidates there are, at most
	// MaxCandidates. Whatever shows that a device is there is an answer, a refusal too. Behind
	// the last candidate it asks nobody. Words of Candidate.Within that it does not know, or that
	// name too many, are BadValue. Any other error is one of the line, and says nothing of the
	// candidate.
	Discover(ctx context.Context, c Candidate) (found *Entry, candidates int, err error)
}

// MaxCandidates bounds a search.
const MaxCandidates = 4096

// A Candidate is where a device may be.
type Candidate struct {
	// Within is where to look, in the driver's words, as the operator gave it ("1-32,100");
	// empty: wherever a device may be.
	Within string
	Number int // of those within, from 0

	// Patience is how long an answer is waited for: at most LinkConfig.Timeout.
	Patience time.Duration

	// Identify asks the candidate, which has answered before, who it is, with one request. What
	// is not empty in the answer takes the place of what was found before; nil says nothing new.
	Identify bool
}
