package engine

import (
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
)

// An answer is the samples of one call. It comes from a pool, so that there are as many
// as polls in flight and not as many as links.
type answer struct{ samples []driver.Sample }

type answerPool struct{ pool sync.Pool }

// get gives zero samples.
func (p *answerPool) get(n int) *answer {
	a, ok := p.pool.Get().(*answer)
	if !ok {
		a = &answer{}
	}
	if cap(a.samples) < n {
		a.samples = make([]driver.Sample, n)
	}
	a.samples = a.samples[:n]
	return a
}

// put takes an answer back that nobody uses any more. nil is none.
func (p *answerPool) put(a *answer) {
	if a == nil {
		return
	}
	clear(a.samples)
	p.pool.Put(a)
}
