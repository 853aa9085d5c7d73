package catalog

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
)

// CheckPattern returns an error where Match cannot use a pattern.
func CheckPattern(pattern string) error {
	segments := strings.Split(pattern, "/")
	if len(segments) > 3 {
		return fmt.Errorf("pattern %q: more than LINK/DEVICE/POINT", pattern)
	}
	for _, s := range segments {
		if _, err := path.Match(s, ""); err != nil {
			return fmt.Errorf("pattern %q: a [ or \\ is not closed", pattern)
		}
	}
	return nil
}

// Match returns a function that reports whether a handle's point is among those that patterns
// name: LINK, LINK/DEVICE or LINK/DEVICE/POINT, each part as path.Match has it. A shorter one
// means all below it; no pattern at all means everything. A pattern that CheckPattern refuses
// means nothing. The function knows handles that are given out later, and may be called
// concurrently.
func (c *Catalog) Match(patterns []string) func(handle uint32) bool {
	if len(patterns) == 0 {
		return func(handle uint32) bool { return c.view.Load().find(handle) != nil }
	}
	m := &matcher{catalog: c, verdicts: map[uint32]*verdict{}}
	for _, p := range patterns {
		if CheckPattern(p) == nil {
			m.patterns = append(m.patterns, strings.Split(strings.TrimSuffix(p, "/"), "/"))
		}
	}
	return m.match
}

type matcher struct {
	catalog  *Catalog
	patterns [][]string
	latest   atomic.Pointer[verdict] // samples of one device come together
	mu       sync.RWMutex
	verdicts map[uint32]*verdict // by the first handle of a block, which never changes its names
}

// A verdict is which handles of a block match.
type verdict struct {
	first  uint32
	end    uint64
	all    bool
	points []bool // nil: none, where not all
}

func (v *verdict) holds(handle uint32) bool {
	return v != nil && v.first <= handle && uint64(handle) < v.end
}

func (v *verdict) allows(handle uint32) bool {
	return v.all || v.points != nil && v.points[handle-v.first]
}

func (m *matcher) match(handle uint32) bool {
	if v := m.latest.Load(); v.holds(handle) {
		return v.allows(handle)
	}
	b := m.catalog.view.Load().find(handle)
	if b == nil {
		return false
	}
	m.mu.RLock()
	v := m.verdicts[b.first]
	m.mu.RUnlock()
	if v == nil {
		v = m.judge(b)
		m.mu.Lock()
		m.verdicts[b.first] = v
		m.mu.Unlock()
	}
	m.latest.Store(v)
	return v.allows(handle)
}

func (m *matcher) judge(b *block) *verdict {
	v := &verdict{first: b.first, end: b.end()}
	for _, p := range m.patterns {
		if !glob(p[0], b.link) || len(p) > 1 && !glob(p[1], b.name) {
			continue
		}
		if len(p) < 3 {
			v.all = true
			return v
		}
		for i, name := range b.table.names {
			if glob(p[2], name) {
				if v.points == nil {
					v.points = make([]bool, len(b.table.names))
				}
				v.points[i] = true
			}
		}
	}
	return v
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
