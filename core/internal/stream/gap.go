package stream

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A Gap says what a reader does not get.
type Gap struct {
	Cause   Cause
	Time    time.Time // of the last sample that is missing, where that is known; otherwise when it was found
	Handle  uint32    // the only one whose samples are missing; 0: there may be several
	Records uint64    // how many whole records; 0: none, or it is not known
	Samples uint64    // how many samples; 0: it is not known
	Text    string    // for a person: what is missing, of which driver, and why
}

// A Cause is why a reader does not get something.
type Cause uint8

// The causes of a gap.
const (
	Sent        Cause = iota + 1 // the driver, or the gateway, stored a gap in the place of samples
	Undecodable                  // a record is no frame
	Unnamed                      // nobody knows any more which points the samples are of
	Retired                      // retention has removed records
	Damaged                      // the spool has lost records
	Skipped                      // the reader was too slow, and asked to KeepUp
	Foreign                      // the position to begin with is of another spool
)

// spokenBy names the driver that a text is from: what a driver says of its losses must not pass
// for the gateway's words, or for another's.
func spokenBy(driver, text string) string {
	who := "driver " + driver + ": "
	if driver == "" || strings.HasPrefix(text, who) {
		return text
	}
	return who + text
}

// gapText says what a gap that was sent tells of.
func gapText(g *frame.Gap) string {
	text := "samples are lost"
	if g.Cause != nil {
		text = g.Cause.Text
	}
	if g.Samples > 0 {
		text = fmt.Sprintf("%d samples lost: %s", g.Samples, text)
	}
	text += linksText(g.Links)
	if g.From.IsZero() {
		return text
	}
	return fmt.Sprintf("%s (from %s to %s)", text, g.From.UTC().Format(time.RFC3339Nano), g.To.UTC().Format(time.RFC3339Nano))
}

// maxLinksText is how many links the text of a gap names.
const maxLinksText = 8

// linksText says whose samples were lost.
func linksText(links []frame.GapLink) string {
	var names []string
	more, polls := 0, uint64(0) // what is not named
	for i := range links {
		l := &links[i]
		switch {
		case l.Link == "" && l.Polls == 0:
			continue
		case len(names) == maxLinksText, l.Link == "":
			more++
			polls += l.Polls
			continue
		}
		name := l.Link
		if l.Device != "" {
			name += "/" + l.Device
		}
		names = append(names, name+pollsText(l.Polls))
	}
	if more > 0 {
		names = append(names, "others"+pollsText(polls))
	}
	if len(names) == 0 {
		return ""
	}
	return "; of " + strings.Join(names, ", ")
}

func pollsText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d polls due)", n)
}

// missing gathers what a reader on its way through the spool does not get, so that one gap at
// the end of a stretch says it, not one before every record.
type missing struct {
	retired  map[string]*stretch // by driver
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

// whoKnows stands for the driver of records of which nobody knows whose they were.
const whoKnows = "?"

// retire counts records that retention has removed.
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

// take takes out what is missing of a driver, and what nobody knows whose it is; of all where
// driver is empty.
func (m *missing) take(driver string) (gaps []*Gap) {
	if len(m.retired) > 0 {
		for _, name := range slices.Sorted(maps.Keys(m.retired)) {
			if driver == "" || name == driver || name == whoKnows {
				gaps = append(gaps, m.retired[name].gap(name))
				delete(m.retired, name)
			}
		}
	}
	if g := m.takeNameless(); g != nil {
		gaps = append(gaps, g)
	}
	return gaps
}

func (s *stretch) gap(driver string) *Gap {
	whose := " of driver " + driver
	switch driver {
	case whoKnows:
		whose = ""
	case "":
		whose = " of the gateway itself"
	}
	return &Gap{Cause: Retired, Time: time.Now(), Records: s.records,
		Text: fmt.Sprintf("%d records%s between positions %d and %d are retired: the spool keeps what there is room for", s.records, whose, s.first, s.last)}
}

func (m *missing) takeNameless() *Gap {
	if m.unnamed == 0 {
		return nil
	}
	g := &Gap{Cause: Unnamed, Time: m.to, Samples: m.unnamed, Text: fmt.Sprintf("%d samples of points that are not known any more (handles %d to %d, "+
		"stored from %s to %s): the catalog that they were stored with is lost", m.unnamed, m.low, m.high, m.from.UTC().Format(time.RFC3339), m.to.UTC().Format(time.RFC3339))}
	if m.low == m.high {
		g.Handle = m.low
	}
	m.unnamed = 0
	return g
}
