package host

import (
	"errors"
	"sync"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// attachments are those of one process: normally one, briefly two during a reconnect.
type attachments struct {
	mu      sync.Mutex
	open    map[*Attachment]struct{}
	latest  *Attachment
	evicted bool // another core has the process
}

func (s *attachments) begin(a *Attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*Attachment]struct{}{}
	}
	s.open[a] = struct{}{}
	s.latest = a
}

// over notes how an attachment ended. An attachment can be evicted by a later one of
// this same core.
func (s *attachments) over(a *Attachment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, a)
	if s.latest == a {
		s.evicted = errors.Is(err, wire.ErrEvicted)
	}
}

// taken tells that another core has the process.
func (s *attachments) taken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evicted
}

// closeAll sends the last acks and ends the attachments.
func (s *attachments) closeAll() {
	s.mu.Lock()
	var open []*Attachment
	for a := range s.open {
		open = append(open, a)
	}
	s.mu.Unlock()
	for _, a := range open {
		_ = a.Close()
	}
}
