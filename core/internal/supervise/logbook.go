package supervise

import (
	"context"
	"slices"
	"sync"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

const (
	defaultLines = 200
	maxBookBytes = 1 << 20 // of the lines kept of one driver
	followBuffer = 256     // lines that a follower may be behind
	maxFollowers = 16      // of one driver
)

// logbook keeps the last lines of a driver, across its processes.
type logbook struct {
	max int

	mu        sync.Mutex
	lines     []host.Line // oldest first
	bytes     int
	followers []*Follower
}

// A Follower is given the lines of a driver as they come.
type Follower struct {
	book    *logbook
	lines   chan host.Line
	dropped uint64
}

func newLogbook(lines int) *logbook { return &logbook{max: lines} }

// add never blocks: a follower that is too slow loses lines, which are counted.
func (b *logbook) add(line host.Line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	b.bytes += weight(line)
	drop := 0
	for len(b.lines)-drop > b.max || b.bytes > maxBookBytes && len(b.lines)-drop > 1 {
		b.bytes -= weight(b.lines[drop])
		drop++
	}
	b.lines = slices.Delete(b.lines, 0, drop)
	for _, f := range b.followers {
		select {
		case f.lines <- line:
		default:
			f.dropped++
		}
	}
}

// weight is about what a line takes of memory.
func weight(line host.Line) int { return 128 + len(line.Text) + 64*len(line.Attrs) }

func (b *logbook) tail(n int) []host.Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last(n)
}

func (b *logbook) last(n int) []host.Line {
	return slices.Clone(b.lines[len(b.lines)-min(max(n, 0), len(b.lines)):])
}

// follow gives the last n lines too: no line is in both, and none is between.
func (b *logbook) follow(n int) ([]host.Line, *Follower, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.followers) >= maxFollowers {
		return nil, nil, driver.Errorf(driver.Busy, "%d others follow this driver's log already", maxFollowers)
	}
	f := &Follower{book: b, lines: make(chan host.Line, followBuffer)}
	b.followers = append(b.followers, f)
	return b.last(n), f, nil
}

// Next waits for the next line. dropped is how many were lost before it, because the
// caller was too slow for them. Its error is that of ctx.
func (f *Follower) Next(ctx context.Context) (line host.Line, dropped uint64, err error) {
	select {
	case line = <-f.lines:
	case <-ctx.Done():
		return line, 0, ctx.Err()
	}
	f.book.mu.Lock()
	defer f.book.mu.Unlock()
	dropped, f.dropped = f.dropped, 0
	return line, dropped, nil
}

// Close ends it. It is safe twice.
func (f *Follower) Close() {
	f.book.mu.Lock()
	defer f.book.mu.Unlock()
	f.book.followers = slices.DeleteFunc(f.book.followers, func(other *Follower) bool { return other == f })
}

// Logs returns the last n lines of a driver's processes, oldest first, also those of
// processes that have died.
func (s *Supervisor) Logs(driverName string, n int) []host.Line {
	if p := s.find(driverName); p != nil {
		return p.lines.tail(n)
	}
	return nil
}

// Follow returns the last n lines as Logs does, and gives those that come after them.
// The caller closes it.
func (s *Supervisor) Follow(driverName string, n int) ([]host.Line, *Follower, error) {
	p := s.find(driverName)
	if p == nil {
		return nil, nil, driver.Errorf(driver.NotFound, "driver %s does not run: no link uses it", driverName)
	}
	return p.lines.follow(n)
}
