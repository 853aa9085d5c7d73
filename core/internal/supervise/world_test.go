package supervise_test

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// world is who has which link open.
type world struct {
	mu     sync.Mutex
	holder map[string]uint64
	wrong  []string
}

func (w *world) set(link string, epoch uint64, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder == nil {
		w.holder = make(map[string]uint64)
	}
	switch other := w.holder[link]; {
	case open && other != 0 && other != epoch:
		w.wrong = append(w.wrong, fmt.Sprintf("%s is open in process %d and opened by %d", link, other, epoch))
	case open:
		w.holder[link] = epoch
	case other == epoch:
		delete(w.holder, link)
	}
}

// who tells which process has a link open; 0: none.
func (w *world) who(link string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holder[link]
}

// fakeSpool stores in memory, at once or when released.
type fakeSpool struct {
	mu      sync.Mutex
	records []spool.Record
	marks   map[string][2]uint64
	epochs  map[uint64]uint64 // an epoch is of one process, whatever its driver
	hold    chan struct{}     // not nil: Append blocks until it is closed
	commits atomic.Int64
}

func (s *fakeSpool) Append(r spool.Record, stored func(error)) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	if s.marks == nil {
		s.marks = make(map[string][2]uint64)
	}
	if s.epochs == nil {
		s.epochs = make(map[uint64]uint64)
	}
	if r.Sequence > s.epochs[r.Epoch] {
		s.records = append(s.records, r)
		s.epochs[r.Epoch] = r.Sequence
		s.marks[r.Driver] = [2]uint64{r.Epoch, r.Sequence}
	}
	s.mu.Unlock()
	stored(nil)
}

func (s *fakeSpool) Commit() { s.commits.Add(1) }
func (s *fakeSpool) Gather() {}
func (s *fakeSpool) Later()  {}

func (s *fakeSpool) Mark(name string) (epoch, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[name]
	return m[0], m[1]
}

func (s *fakeSpool) MarkOf(name string, epoch uint64) (sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epochs[epoch]
}

// story is what is stored: "fake 1/2" for a frame, the cause for a gap.
func (s *fakeSpool) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.records {
		if r.Driver != "" {
			list = append(list, fmt.Sprintf("%s %d/%d", r.Driver, r.Epoch, r.Sequence))
			continue
		}
		if _, _, g, err := wire.DecodeFrame(r.Data); err == nil && g != nil {
			list = append(list, "gap: "+g.Cause.Text)
		}
	}
	return list
}
