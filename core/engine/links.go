package engine

import (
	"maps"
	"slices"
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
)

// links are those of an engine: of the present state, and those removed and not done yet.
// All methods may be called concurrently, except that one goroutine at a time changes the
// state.
type links struct {
	mu      sync.RWMutex
	byName  map[string]*link
	order   []string // of the state
	running map[*link]struct{}
	closed  bool
	ended   sync.WaitGroup // those running
}

func newLinks() links { return links{byName: map[string]*link{}, running: map[*link]struct{}{}} }

// find finds a link by its name.
func (s *links) find(name string) (*link, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.byName[name]; l != nil {
		return l, nil
	}
	return nil, driver.Errorf(driver.NotFound, "there is no link %q", name)
}

// named finds links, in the order of the names; without names, it is all of the state, in
// its order.
func (s *links) named(names []string) ([]*link, error) {
	if len(names) == 0 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		names = s.order
		all := make([]*link, len(names))
		for i, name := range names {
			all[i] = s.byName[name]
		}
		return all, nil
	}
	found := make([]*link, len(names))
	for i, name := range names {
		var err error
		if found[i], err = s.find(name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// inState lists the links of the state, in its order.
func (s *links) inState() []*link {
	all, _ := s.named(nil) // nothing that it looks for can be missing
	return all
}

// all lists every link that runs, also those removed and not done yet.
func (s *links) all() []*link {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Keys(s.running))
}

// without copies the state but for some links.
func (s *links) without(names []string) (map[string]*link, []string) {
	left, gone := maps.Clone(s.byName), setOf(names)
	for name := range gone {
		delete(left, name)
	}
	return left, slices.DeleteFunc(slices.Clone(s.order), func(name string) bool { return gone[name] })
}

// set makes these the links of the state.
func (s *links) set(byName map[string]*link, order []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName, s.order = byName, order
}

// close leaves a state without links for good, and returns those that it had. Not ok: it
// was closed before.
func (s *links) close() (had map[string]*link, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	had, s.byName, s.order, s.closed = s.byName, map[string]*link{}, nil, true
	return had, true
}

func (s *links) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// begin notes that a link runs; end must follow.
func (s *links) begin(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[l] = struct{}{}
	s.ended.Add(1)
}

// end notes that the last runner of a removed link has ended.
func (s *links) end(l *link) {
	s.mu.Lock()
	delete(s.running, l)
	s.mu.Unlock()
	close(l.done)
	s.ended.Done()
}
