package stream_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/state"
	"github.com/fieldloom/fieldloom/core/internal/stream"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// shelf is a store with the devices line1/m1 and line1/m2, each with the points u and i, and
// line1/wide with a hundred points.
type shelf struct {
	stream.Store
	t   testing.TB
	m1  uint32 // the handle of line1/m1/u
	m2  uint32
	seq uint64
}

func newShelf(t testing.TB, o spool.Options) *shelf {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{t: t}
	if s.Catalog, err = catalog.Open(db); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(
		"links: {line1: {driver: modbus, devices: {\"m[1..2]\": {points: {u: {address: \"1\", unit: V}, i: {address: \"2\"}}}, wide: {points: {\"p[0..99]\": {address: \"{n}\"}}}}}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Catalog.States(cfg, 1); err != nil {
		t.Fatal(err)
	}
	s.m1, _ = s.Catalog.Find("line1", "m1", "u")
	s.m2, _ = s.Catalog.Find("line1", "m2", "u")
	if o.CommitEvery == 0 {
		o.CommitEvery = time.Microsecond
	}
	if s.Spool, err = spool.Open(t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Spool.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// append stores a record of a driver.
func (s *shelf) append(from string, encode func(seq uint64) []byte) {
	s.t.Helper()
	s.seq++
	stored := make(chan error, 1)
	s.Spool.Append(spool.Record{Driver: from, Epoch: 1, Sequence: s.seq, Stored: time.Now(), Data: encode(s.seq)}, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		s.t.Fatal(err)
	}
}

// store stores a sample of u and one of i of a device, n and n+0.5.
func (s *shelf) store(first uint32, n int) {
	s.t.Helper()
	b := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{first, 2}, Time: int64(n), Kind: driver.KindFloat64, Floats: []float64{float64(n), float64(n) + 0.5}}}}
	s.append("modbus", func(seq uint64) []byte { return wire.AppendFrame(nil, seq, b, nil) })
}

// rest is what a cursor gives up to the present end, a line each.
func (s *shelf) rest(c *stream.Cursor) (lines []string) {
	s.t.Helper()
	for {
		e, err := c.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if e.Gap != nil {
			lines = append(lines, fmt.Sprintf("%v: gap %d of %d records, %d samples", e.Position, e.Gap.Cause, e.Gap.Records, e.Gap.Samples))
			continue
		}
		for sample := range e.Samples() {
			lines = append(lines, fmt.Sprintf("%v: %s/%s/%s = %v %s", e.At(sample), sample.Link, sample.Device, sample.Point, sample.Value, sample.Unit))
		}
	}
}

func (s *shelf) want(c *stream.Cursor, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.rest(c)); diff != "" {
		s.t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACursorGivesWhatIsStoredAndThenGoesOn(t *testing.T) {
	s := newShelf(t, spool.Options{})
	s.store(s.m1, 1)
	c, some := s.Open(s.Oldest(), nil), s.Open(frame.Position{}, stream.Pattern{"line1/m2", "line1/*/u"})
	s.want(c, "1.1: line1/m1/u = 1 V", "1.2: line1/m1/i = 1.5 ")
	s.want(some, "1.1: line1/m1/u = 1 V")
	s.want(c)
	s.store(s.m2, 2)
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(c, "2.1: line1/m2/u = 2 V", "2.2: line1/m2/i = 2.5 ")
	s.want(some, "2.1: line1/m2/u = 2 V", "2.2: line1/m2/i = 2.5 ")
	s.want(s.Open(s.End(), nil))
}

// Behind every sample, another cursor goes on with the next one.
func TestACursorResumesBehindAnySample(t *testing.T) {
	s := newShelf(t, spool.Options{})
	for n := range 3 {
		s.store(s.m1, n)
	}
	all := s.rest(s.Open(s.Oldest(), nil))
	for i, line := range all {
		text, _, _ := strings.Cut(line, ":")
		after, err := frame.ParsePosition(text)
		if err != nil {
			t.Fatal(err)
		}
		c := s.Open(after, nil)
		if c.Begin() != after {
			t.Errorf("opened after %v, begins after %v", after, c.Begin())
		}
		if rest := s.rest(c); !slices.Equal(all[i+1:], rest) {
			t.Errorf("after %v: %q, want %q", after, rest, all[i+1:])
		}
	}
}

// Every sample that is not given is counted in a gap, which has its cause and its place.
func TestGapsAreValues(t *testing.T) {
	s := newShelf(t, spool.Options{})
	s.append("modbus", func(seq uint64) []byte {
		return wire.AppendFrame(nil, seq, nil, &frame.Gap{Samples: 7, Cause: driver.Errorf(driver.Lost, "the ring was full")})
	})
	s.append("modbus", func(uint64) []byte { return []byte{0xff, 0xff} })
	s.store(9_999_990, 1)
	s.store(s.m1, 2)
	s.want(s.Open(s.Oldest(), nil),
		fmt.Sprintf("1: gap %d of 0 records, 7 samples", stream.Sent),
		fmt.Sprintf("2: gap %d of 1 records, 0 samples", stream.Undecodable),
		fmt.Sprintf("3: gap %d of 0 records, 2 samples", stream.Unnamed),
		"4.1: line1/m1/u = 2 V", "4.2: line1/m1/i = 2.5 ")
	s.want(s.Open(frame.Position{Record: 77, Sample: 1}, stream.Pattern{"line1/m1/u"}),
		fmt.Sprintf(": gap %d of 0 records, 0 samples", stream.Foreign),
		fmt.Sprintf("1: gap %d of 0 records, 7 samples", stream.Sent),
		fmt.Sprintf("2: gap %d of 1 records, 0 samples", stream.Undecodable),
		fmt.Sprintf("3: gap %d of 0 records, 2 samples", stream.Unnamed),
		"4.1: line1/m1/u = 2 V")
}

func TestACursorThatKeepsUpLeavesOutTheOldest(t *testing.T) {
	s := newShelf(t, spool.Options{})
	c := s.Open(s.Oldest(), stream.Pattern{"line1/m1/u"})
	s.store(s.m1, 1)
	c.KeepUp(2)
	s.want(c, "1.1: line1/m1/u = 1 V")
	for n := range 5 {
		s.store(s.m1, 2+n)
	}
	s.want(c, fmt.Sprintf("4: gap %d of 3 records, 0 samples", stream.Skipped), "5.1: line1/m1/u = 5 V", "6.1: line1/m1/u = 6 V")
}

func TestACursorLeavesOutWhatIsOlder(t *testing.T) {
	s := newShelf(t, spool.Options{})
	s.store(s.m1, 1)
	since := time.Now()
	s.store(s.m2, 2)
	c := s.Open(s.Oldest(), stream.Pattern{"line1/*/u"})
	c.LeaveOut(since)
	s.want(c, "2.1: line1/m2/u = 2 V")
	s.want(s.Open(s.Since(since), stream.Pattern{"line1/*/u"}), "2.1: line1/m2/u = 2 V")
}

// What retention removed is told once, before the first record that is there.
func TestRetiredRecordsAreTold(t *testing.T) {
	s := newShelf(t, spool.Options{MaxBytes: 8 << 10, FileBytes: 1 << 10})
	first := s.Oldest()
	n := 0
	for ; s.Spool.First() <= 2; n++ {
		s.store(s.m1, n)
	}
	gone := uint64(s.Spool.First()) - 1
	lines := s.rest(s.Open(first, stream.Pattern{"line1/m1/u"}))
	if want := fmt.Sprintf("%d: gap %d of %d records, 0 samples", gone, stream.Retired, gone); lines[0] != want || len(lines) != n-int(gone)+1 {
		t.Errorf("%d lines, the first %q, want %q", len(lines), lines[0], want)
	}
}

// A decoder names what is not stored, and gives it no position.
func TestADecoderOfFramesThatAreNotStored(t *testing.T) {
	s := newShelf(t, spool.Options{})
	d := stream.NewDecoder(s.Catalog, stream.Pattern{"line1/m1/i"})
	b := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{s.m1, 2}, Kind: driver.KindInt64, Ints: []int64{1, 2}}}}
	e := d.Frame(wire.AppendFrame(nil, 1, b, nil))
	n := 0
	for sample := range e.Samples() {
		n++
		if handle, ok := e.Handle(sample); !ok || handle != s.m1+1 || sample.Point != "i" || sample.Value.Int64() != 2 || !e.At(sample).IsZero() {
			t.Errorf("%+v, handle %d", sample, handle)
		}
	}
	if n != 1 || e.Gap != nil {
		t.Errorf("%d samples, gap %+v", n, e.Gap)
	}
	if e := d.Frame([]byte{0xff}); e.Gap == nil || e.Gap.Cause != stream.Undecodable || e.Gap.Time.IsZero() {
		t.Errorf("%+v", e.Gap)
	}
}

// BenchmarkCursor is what a sample costs, from the spool to its name and value. One iteration is
// one sample; a record has ten polls of a hundred points.
func BenchmarkCursor(b *testing.B) {
	s := newShelf(b, spool.Options{})
	const records, polls, points = 300, 10, 100
	wide, _ := s.Catalog.Find("line1", "wide", "p0")
	for n := range records {
		batch := &frame.Batch{}
		for range polls {
			batch.Blocks = append(batch.Blocks, frame.Block{Runs: []uint32{wide, points}, Time: int64(n), Kind: driver.KindFloat64, Floats: slices.Repeat([]float64{1}, points)})
		}
		s.append("modbus", func(seq uint64) []byte { return wire.AppendFrame(nil, seq, batch, nil) })
	}
	for name, pattern := range map[string]stream.Pattern{"all": nil, "one point": {"line1/wide/p7"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			sum := 0.0
			for done := 0; done < b.N; done += records * polls * points {
				c := s.Open(s.Oldest(), pattern)
				for e, err := c.Next(); err == nil; e, err = c.Next() {
					for sample := range e.Samples() {
						sum += sample.Value.Float64()
					}
				}
			}
			if sum == 0 {
				b.Fatal("nothing was read")
			}
		})
	}
}
