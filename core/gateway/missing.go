package gateway

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// missing gathers what a watcher on its way through the spool does not get, so that it is
// told once where it ends and not before every record.
type missing struct {
	retired  map[string]*stretch // by driver; "?": nobody knows whose
	unnamed  uint64              // samples of points that nobody knows any more
	low      uint32              // their handles
	high     uint32
	from, to time.Time // when they were stored
}

// stretch is records of one driver that retention has removed, between two that are there.
type stretch struct {
	records     uint64
	first, last spool.Position
}

const whoKnows = "?"

func (m *missing) retire(l *spool.Loss) {
	drivers := l.Drivers
	if len(drivers) == 0 {
		drivers = map[string]uint64{whoKnows: l.Records}
	}
	if m.retired == nil {
		m.retired = make(map[string]*stretch)
	}
	for name, n := range drivers {
		s := m.retired[name]
		if s == nil {
			s = &stretch{first: l.From}
			m.retired[name] = s
		}
		s.records, s.last = s.records+n, l.To-1
	}
}

// nameless counts a sample that cannot be named.
func (m *missing) nameless(handle uint32, stored time.Time) {
	if m.unnamed == 0 {
		m.low, m.high, m.from = handle, handle, stored
	}
	m.unnamed++
	m.low, m.high, m.to = min(m.low, handle), max(m.high, handle), stored
}

// tellMissing tells what is missing before the record at a position: of its driver, and
// what nobody knows whose it is; of all where driver is "".
func (w *watch) tellMissing(driver string, before uint64) error {
	m := &w.missing
	if len(m.retired) == 0 && m.unnamed == 0 {
		return nil
	}
	w.at = client.Position{Record: before - 1, Sample: client.WholeRecord}
	for _, name := range slices.Sorted(maps.Keys(m.retired)) {
		if driver != "" && name != driver && name != whoKnows {
			continue
		}
		s, whose := m.retired[name], " of driver "+name
		delete(m.retired, name)
		switch name {
		case whoKnows:
			whose = ""
		case "":
			whose = " of the gateway itself"
		}
		if err := w.lost(time.Now(), fmt.Sprintf("%d records%s between positions %d and %d are retired: the spool keeps what there is room for", s.records, whose, s.first, s.last)); err != nil {
			return err
		}
	}
	return w.tellNameless()
}

// tellNameless tells of samples that cannot be named, for the decoder of a whole record
// has ended.
func (d *decoder) tellNameless() error {
	m := &d.missing
	if m.unnamed == 0 {
		return nil
	}
	n := m.unnamed
	m.unnamed = 0
	where := ""
	if m.low == m.high {
		where = fmt.Sprintf("handle-%d", m.low)
	}
	return d.lostAt(where, m.to, fmt.Sprintf("%d samples of points that are not known any more (handles %d to %d, stored from %s to %s): "+
		"the catalog that they were stored with is lost", n, m.low, m.high, m.from.UTC().Format(time.RFC3339), m.to.UTC().Format(time.RFC3339)))
}
