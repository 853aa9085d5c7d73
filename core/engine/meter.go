package engine

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	maxMeters    = 64 // of one link
	maxMeterName = 64 // bytes
)

// meters are the numbers that the driver keeps, by link. They stay when a link is
// opened again, so that a counter of connections lost can be one.
type meters struct {
	mu    sync.Mutex
	links map[string]*meter
}

// of finds or makes the meter of a link.
func (m *meters) of(link string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links == nil {
		m.links = map[string]*meter{}
	}
	if m.links[link] == nil {
		m.links[link] = &meter{}
	}
	return m.links[link]
}

// keep forgets the meters of links that are not in the state any more.
func (m *meters) keep(state map[string]*link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.links {
		if state[name] == nil {
			delete(m.links, name)
		}
	}
}

// read lists all numbers, in the order of links and names.
func (m *meters) read() []control.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []control.Meter
	for link, meter := range m.links {
		all = meter.read(all, link)
	}
	slices.SortFunc(all, func(a, b control.Meter) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// readOf appends the numbers of one link, in the order of their names.
func (m *meters) readOf(all []control.Meter, link string) []control.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links[link] == nil {
		return all
	}
	own := m.links[link].read(nil, link)
	slices.SortFunc(own, func(a, b control.Meter) int { return cmp.Compare(a.Name, b.Name) })
	return append(all, own...)
}

// meter is driver.Env.Meter of one link. A number that exists is changed without a
// lock.
type meter struct {
	numbers sync.Map // name to *number
	mu      sync.Mutex
	count   int
}

var _ driver.Meter = (*meter)(nil)

// number is one counter or gauge.
type number struct {
	counter bool
	bits    atomic.Uint64 // of a float64
}

// Count adds to a counter.
func (m *meter) Count(name string, delta float64) {
	n := m.number(name, true)
	if n == nil || !n.counter || !(delta >= 0) || math.IsInf(delta, 1) {
		return
	}
	for {
		old := n.bits.Load()
		sum := math.Float64frombits(old) + delta
		if math.IsInf(sum, 1) || n.bits.CompareAndSwap(old, math.Float64bits(sum)) {
			return
		}
	}
}

// Gauge sets a gauge.
func (m *meter) Gauge(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	if n := m.number(name, false); n != nil && !n.counter {
		n.bits.Store(math.Float64bits(value))
	}
}

// number finds or makes a number; nil: there are too many, or the name is none.
func (m *meter) number(name string, counter bool) *number {
	if n, ok := m.numbers.Load(name); ok {
		return n.(*number)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.numbers.Load(name); ok {
		return n.(*number)
	}
	if m.count >= maxMeters || !isMeterName(name) {
		return nil
	}
	m.count++
	n := &number{counter: counter}
	m.numbers.Store(name, n)
	return n
}

// isMeterName reports whether a name may be shown, and sent, as it is.
func isMeterName(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxMeterName
}

func (m *meter) read(all []control.Meter, link string) []control.Meter {
	m.numbers.Range(func(name, value any) bool {
		n := value.(*number)
		all = append(all, control.Meter{
			Link: link, Name: name.(string), Value: math.Float64frombits(n.bits.Load()), Counter: n.counter,
		})
		return true
	})
	return all
}
