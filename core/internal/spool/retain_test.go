package spool_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

func TestRetentionByBytes(t *testing.T) {
	dir := t.TempDir()
	o := spool.Options{MaxBytes: 40 << 10, FileBytes: 4 << 10}
	s := open(t, dir, o)
	fill(t, s, "modbus", 1, 10)
	for n := uint64(11); n < 1000; n += 10 {
		fill(t, s, "modbus", n, n+9)
		if size := dirBytes(t, dir); size > o.MaxBytes {
			t.Fatalf("the files take %d bytes of %d", size, o.MaxBytes)
		}
	}
	st := s.Stats()
	if st.Retired == 0 || st.Retired+st.Records != 1000 || st.Lost != 0 {
		t.Errorf("stats %+v", st)
	}
	c := readAll(t, s, 5)
	if len(c.losses) != 1 || c.losses[0].Cause != spool.Retired || c.lost != uint64(s.First()-5) {
		t.Errorf("losses %+v, first %d", c.losses, s.First())
	}
	if d := cmp.Diff(sequence(uint64(s.First()), 1000), c.sequences["modbus"]); d != "" {
		t.Error(d)
	}
	if len(s.Losses()) != 0 {
		t.Errorf("retention counts as damage: %+v", s.Losses())
	}
}

// dirBytes is what the files of the log take; the lock and the end are a few bytes
// beside them.
func dirBytes(t testing.TB, dir string) (size int64) {
	for _, path := range logFiles(t, dir) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

func logFiles(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRetentionByAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, spool.Options{MaxAge: time.Hour, FileBytes: 2 << 10})
		for n := uint64(1); n <= 300; n++ {
			fill(t, s, "modbus", n, n)
			time.Sleep(time.Minute)
		}
		oldest := time.Since(s.Stats().First)
		if oldest < time.Hour || oldest > 90*time.Minute {
			t.Errorf("the oldest record is %v old", oldest)
		}
	})
}

func TestReaderSurvivesRetention(t *testing.T) {
	s := open(t, t.TempDir(), spool.Options{MaxBytes: 64 << 10, FileBytes: 4 << 10})
	fill(t, s, "modbus", 1, 100)
	r := s.Read(1)
	if _, _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "modbus", 101, 2000)
	next, lost := uint64(2), uint64(0)
	for {
		rec, _, err := r.Next()
		var loss *spool.LossError
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.As(err, &loss) {
			if loss.Cause != spool.Retired {
				t.Errorf("loss %+v", loss)
			}
			next, lost = next+loss.Records, lost+loss.Records
			continue
		}
		if err != nil || rec.Sequence != next {
			t.Fatalf("record %d, %v; want %d", rec.Sequence, err, next)
		}
		next++
	}
	if next != 2001 || lost == 0 {
		t.Errorf("ended at %d with %d lost", next, lost)
	}
}
