package spool_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// flood appends large records of a driver and waits until all are stored.
func flood(t testing.TB, s *spool.Spool, driver string, from, to uint64, size int) {
	t.Helper()
	done := make(chan error, to-from+1)
	for n := from; n <= to; n++ {
		s.Append(spool.Record{Driver: driver, Epoch: 7, Sequence: n, Data: make([]byte, size)}, func(err error) { done <- err })
	}
	s.Commit()
	for n := from; n <= to; n++ {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// history is what a reader sees: the sequences of each driver, and how many records of
// each were retired by what the losses say.
type history struct {
	kept    map[string][]uint64
	retired map[string]uint64
	unnamed uint64 // retired, and nobody says whose they were
	damaged uint64
}

func look(t testing.TB, s *spool.Spool, from spool.Position) history {
	t.Helper()
	h := history{kept: map[string][]uint64{}, retired: map[string]uint64{}}
	r := s.Read(from)
	for next := r.Position(); ; {
		rec, p, err := r.Next()
		var loss *spool.LossError
		switch {
		case errors.Is(err, io.EOF):
			if next != s.End() {
				t.Errorf("the reader ended at %d, the spool at %d", next, s.End())
			}
			return h
		case errors.As(err, &loss):
			if loss.From != next || loss.Records != uint64(loss.To-loss.From) || loss.To <= loss.From {
				t.Fatalf("loss %+v at %d", loss, next)
			}
			next = loss.To
			named := uint64(0)
			for driver, n := range loss.Drivers {
				h.retired[driver] += n
				named += n
			}
			if loss.Cause == spool.Damaged {
				h.damaged += loss.Records
			} else {
				h.unnamed += loss.Records - named
			}
		case err != nil:
			t.Fatal(err)
		case p != next:
			t.Fatalf("record at %d, want %d", p, next)
		default:
			next = p + 1
			h.kept[rec.Driver] = append(h.kept[rec.Driver], rec.Sequence)
		}
	}
}

const mib = 1 << 20

// A driver that stores much takes nothing from one that stores little, and has all of
// what that leaves.
func TestOneDriverRetiresItsOwnHistory(t *testing.T) {
	dir := t.TempDir()
	o := spool.Options{MaxBytes: 8 * mib}
	s := open(t, dir, o)
	n := uint64(0)
	for i := uint64(1); i <= 300; i++ { // 16 times what there is room for
		flood(t, s, "flood", 3*i-2, 3*i, 150_000)
		for range 3 {
			n++
			fill(t, s, "honest", n, n)
		}
		if size := dirBytes(t, dir); size > o.MaxBytes {
			t.Fatalf("the files take %d bytes of %d", size, o.MaxBytes)
		}
	}
	check := func(s *spool.Spool) {
		t.Helper()
		s.MakeRoom() // else it goes on between two of the looks below
		h := look(t, s, 1)
		if d := cmp.Diff(sequence(1, n), h.kept["honest"]); d != "" {
			t.Fatal(d)
		}
		kept := uint64(len(h.kept["flood"]))
		if h.damaged > 0 || h.retired["flood"]+kept+h.unnamed != 900 || kept*150_000 < uint64(o.MaxBytes)*3/4 {
			t.Errorf("%d kept, %d retired, %d unnamed, %d damaged", kept, h.retired["flood"], h.unnamed, h.damaged)
		}
		if list := h.kept["flood"]; !slices.Equal(list, sequence(900-kept+1, 900)) {
			t.Errorf("not the newest stay: %v", list)
		}
		st := s.Stats()
		if st.Records != kept+n || st.Files > 30 {
			t.Errorf("stats %+v, %d and %d are kept", st, kept, n)
		}
		for _, sh := range s.Shares() {
			if sh.Records != uint64(len(h.kept[sh.Driver])) {
				t.Errorf("%+v, %d are kept", sh, len(h.kept[sh.Driver]))
			}
		}
	}
	check(s)
	if got := s.Stats(); got.Retired+got.Records != s.Stats().Records+got.Retired || got.Retired+got.Records != 900+n {
		t.Errorf("%d retired and %d records of %d", got.Retired, got.Records, 900+n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, dir, o))
}

// Who holds more than its share has a share at least.
func TestSharesAreFair(t *testing.T) {
	o := spool.Options{MaxBytes: 8 * mib}
	s := open(t, t.TempDir(), o)
	rates := map[string]int{"a": 10, "b": 10, "c": 4, "d": 1}
	at := map[string]uint64{}
	for range 400 {
		for driver, n := range rates {
			flood(t, s, driver, at[driver]+1, at[driver]+uint64(n), 4000)
			at[driver] += uint64(n)
		}
	}
	total := int64(0)
	for _, sh := range s.Shares() {
		total += int64(sh.Bytes)
		floor := min(uint64(rates[sh.Driver])*400*4000, uint64(o.MaxBytes)/4*3/5) // of the fair share
		if sh.Bytes < floor {
			t.Errorf("%s holds %d bytes", sh.Driver, sh.Bytes)
		}
	}
	if total < o.MaxBytes*3/4 {
		t.Errorf("only %d bytes of %d are used", total, o.MaxBytes)
	}
	if h := look(t, s, 1); len(h.kept["d"]) != 400 || h.damaged > 0 {
		t.Errorf("d has %d records, %d are damaged", len(h.kept["d"]), h.damaged)
	}
}

// A reader goes on in a file that is rewritten under it, and misses nothing of who is not
// over its share.
func TestReaderSurvivesRewriting(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{MaxBytes: 4 * mib})
	n, floods := uint64(0), uint64(0)
	more := func(rounds int) {
		for range rounds {
			floods++
			flood(t, s, "flood", floods, floods, 60_000)
			n++
			fill(t, s, "honest", n, n)
		}
	}
	more(40)
	r, want := s.Read(1), uint64(1)
	for want <= 2000 {
		rec, _, err := r.Next()
		var loss *spool.LossError
		switch {
		case errors.As(err, &loss):
			if loss.Cause != spool.Retired || loss.Drivers["honest"] > 0 {
				t.Fatalf("loss %+v", loss)
			}
		case errors.Is(err, io.EOF):
			more(100)
		case err != nil:
			t.Fatal(err)
		case rec.Driver == "honest":
			if rec.Sequence != want || !bytes.Equal(rec.Data, data(want)) {
				t.Fatalf("record %d, want %d", rec.Sequence, want)
			}
			if want++; want%5 == 0 {
				more(3)
			}
		}
	}
}

// floodForEver is a gateway with two drivers, of which one floods it.
func floodForEver(s *spool.Spool, from uint64) {
	for n := from; ; n++ {
		s.Append(spool.Record{Driver: "flood", Epoch: 1, Sequence: n, Data: make([]byte, 1+rand.IntN(4000))}, nil)
		s.Append(record("modbus", n), acknowledge(n))
		if n%3 == 0 {
			s.Commit()
		}
	}
}

// TestFaultKillWhileRewriting kills a gateway in which one driver has the files rewritten
// all the time.
func TestFaultKillWhileRewriting(t *testing.T) {
	dir := t.TempDir()
	acked, n := uint64(0), rounds(20, 300)
	rewritten := 0
	for round := range n {
		if acked > 400 { // its own share is nearly used up
			dir, acked = t.TempDir(), 0
		}
		c := startChild(t, dir, acked+1, "flood")
		c.read(t, 1+rand.IntN(400))
		c.kill(t)
		c.read(t, 1<<30)
		c.wait()
		s := open(t, dir, thinFiles)
		_, stored := s.Mark("modbus")
		h := look(t, s, 1)
		want := sequence(1, stored)
		if stored > 1000 { // it is over its share
			want = h.kept["modbus"]
		}
		if d := cmp.Diff(want, h.kept["modbus"]); stored < c.last || d != "" || h.damaged > 0 || s.Stats().Lost > 0 {
			t.Fatalf("round %d: %d acknowledged, %d stored, %d damaged %+v\n%s", round, c.last, stored, h.damaged, s.Losses(), d)
		}
		for _, path := range logFiles(t, dir) {
			if len(filepath.Base(path)) > 40 {
				rewritten++
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		acked = stored
	}
	if rewritten == 0 {
		t.Error("no file was rewritten")
	}
	t.Logf(`{"fault":"kill -9 while files are rewritten","rounds":%d,"lost":0,"twice":0}`, n)
}

// A crash may leave any of the old files beside the one that stands for them.
func TestFaultCrashBetweenRenameAndRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, thinFiles)
	crashes, before := 0, image{}
	for i := uint64(1); i <= 400; i++ {
		flood(t, s, "flood", i, i, 5000)
		fill(t, s, "modbus", i, i)
		gone, n := capture(t, dir), 0
		after := maps.Clone(gone)
		for name, b := range before {
			if _, there := gone[name]; !there && filepath.Ext(name) == ".log" && rand.IntN(3) > 0 {
				gone[name] = b
				n++
			}
		}
		before = after
		if n == 0 {
			continue
		}
		crashes++
		crashed := open(t, gone.restore(t), thinFiles)
		_, stored := crashed.Mark("modbus")
		h := look(t, crashed, 1)
		if d := cmp.Diff(sequence(1, stored), h.kept["modbus"]); d != "" || stored != i || h.damaged > 0 {
			t.Fatalf("round %d: stored %d, damaged %d\n%s", i, stored, h.damaged, d)
		}
		if err := crashed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if crashes == 0 {
		t.Error("nothing was rewritten")
	}
}

// One flipped bit in a file that was rewritten costs one record at most.
func TestFaultFlippedBitInARewrittenFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, thinFiles)
	const n = 600
	for i := uint64(1); i <= n; i++ {
		flood(t, s, "flood", i, i, 4000)
		fill(t, s, "modbus", i, i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	img := capture(t, dir)
	logs := slices.DeleteFunc(img.logs(), func(name string) bool { return len(name) < 40 })
	if len(logs) == 0 {
		t.Fatal("nothing was rewritten")
	}
	for range rounds(200, 3000) {
		name := logs[rand.IntN(len(logs))]
		bit := rand.IntN(8 * len(img[name]))
		dir := img.flip(name, bit).restore(t)
		s, err := spool.Open(dir, thinFiles)
		if err != nil {
			t.Fatal(err)
		}
		h := look(t, s, 1)
		if lost := n - len(h.kept["modbus"]); lost > 1 || uint64(lost) > h.damaged || h.damaged > 1 {
			t.Fatalf("bit %d of %s: %d lost, %d told", bit, name, lost, h.damaged)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Where a file cannot be rewritten, what is over MaxBytes goes whole, and nothing stops.
func TestFaultRewritingFails(t *testing.T) {
	dir := t.TempDir()
	var failures atomic.Int64
	o := thinFiles
	o.Inject(func(op string) error {
		if op == "thin" && rand.IntN(2) == 0 {
			failures.Add(1)
			return errors.New("input/output error")
		}
		return nil
	})
	s := open(t, dir, o)
	for n := uint64(1); n <= 400; n++ {
		flood(t, s, "flood", n, n, 8000)
		fill(t, s, "modbus", n, n)
		if size := dirBytes(t, dir); size > o.MaxBytes+o.FileBytes { // a file and the one that stands for it
			t.Fatalf("the files take %d bytes", size)
		}
	}
	h := look(t, s, 1)
	if failures.Load() == 0 || h.damaged > 0 || h.retired["modbus"]+h.unnamed+uint64(len(h.kept["modbus"])) < 400 {
		t.Errorf("%d failures, %d damaged, %d kept, %d unnamed", failures.Load(), h.damaged, len(h.kept["modbus"]), h.unnamed)
	}
}

var thinFiles = spool.Options{MaxBytes: 1 << 20, FileBytes: 16 << 10, CommitEvery: time.Millisecond}

// What is stored under other names is kept apart, also where files are rewritten.
func TestRecordsKeepTheirNames(t *testing.T) {
	dir := t.TempDir()
	for round := byte(1); round <= 4; round++ {
		o := thinFiles
		o.Names = spool.NamesID{round}
		s := open(t, dir, o)
		for n := uint64(1); n <= 100; n++ {
			at := uint64(round)*1000 + n
			flood(t, s, "flood", at, at, 6000)
			fill(t, s, "modbus", at, at)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, thinFiles)
	r, n := s.Read(1), 0
	for {
		rec, _, err := r.Next()
		var loss *spool.LossError
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.As(err, &loss) {
			continue
		}
		if err != nil || rec.Names != (spool.NamesID{byte(rec.Sequence / 1000)}) {
			t.Fatalf("record %d of %s has the names %x, %v", rec.Sequence, rec.Driver, rec.Names, err)
		}
		if rec.Driver == "modbus" {
			n++
		}
	}
	if n != 400 {
		t.Errorf("%d records", n)
	}
}

// A clock that is set ahead makes nothing old: what was stored is kept as long as the
// spool runs, however the records are dated.
func TestAClockThatJumpsAgesNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, spool.Options{MaxAge: 24 * time.Hour, FileBytes: 2 << 10})
		ahead := time.Duration(0)
		for n := uint64(1); n <= 100; n++ {
			if n == 50 {
				ahead = 10 * 365 * 24 * time.Hour
			}
			if n == 60 {
				ahead = 0
			}
			r := record("modbus", n)
			r.Stored = time.Now().Add(ahead)
			s.Append(r, nil)
			time.Sleep(time.Minute)
		}
		if h := look(t, s, 1); len(h.kept["modbus"]) != 100 {
			t.Errorf("%d of 100 are kept", len(h.kept["modbus"]))
		}
		// All that is dated since then is found behind what Seek gives.
		since := time.Now().Add(-15 * time.Minute)
		got := 0
		r := s.Read(s.Seek(since))
		for {
			rec, _, err := r.Next()
			if err != nil {
				break
			}
			if !rec.Stored.Before(since) {
				got++
			}
		}
		if got != 15+10 { // the last ones, and those that the clock dated ahead
			t.Errorf("%d records are found", got)
		}
		time.Sleep(25 * time.Hour)
		fill(t, s, "modbus", 101, 130)
		if h := look(t, s, 1); len(h.kept["modbus"]) > 60 {
			t.Errorf("%d are kept after a day", len(h.kept["modbus"]))
		}
		s.Close()
	})
}

// The time between two processes counts once the clock has kept its time for an hour.
func TestAgeAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := spool.Options{MaxAge: time.Hour, FileBytes: 1 << 10}
		s := open(t, dir, o)
		fill(t, s, "modbus", 1, 30)
		s.Close()
		time.Sleep(48 * time.Hour) // or a clock that is two days ahead at the start
		s = open(t, dir, o)
		fill(t, s, "modbus", 31, 60)
		if h := look(t, s, 1); len(h.kept["modbus"]) != 60 {
			t.Errorf("%d of 60 are kept", len(h.kept["modbus"]))
		}
		time.Sleep(61 * time.Minute)
		fill(t, s, "modbus", 61, 90)
		if h := look(t, s, 1); len(h.kept["modbus"]) > 40 {
			t.Errorf("%d are kept", len(h.kept["modbus"]))
		}
		s.Close()
	})
}

// Strings of 7 MiB, each larger than a file is to be, take no more than their share, and so
// do bursts that fill files alone.
func TestLargeRecordsRetireTheirOwn(t *testing.T) {
	o := spool.Options{MaxBytes: 48 * mib}
	s := open(t, t.TempDir(), o)
	n := uint64(0)
	for i := uint64(1); i <= 60; i++ {
		flood(t, s, "flood", i, i, 7*mib)
		n++
		fill(t, s, "honest", n, n)
	}
	h := look(t, s, 1)
	if d := cmp.Diff(sequence(1, n), h.kept["honest"]); d != "" || h.damaged > 0 {
		t.Errorf("%d damaged\n%s", h.damaged, d)
	}
	if kept := len(h.kept["flood"]); kept < 4 {
		t.Errorf("%d large ones are kept", kept)
	}
}
