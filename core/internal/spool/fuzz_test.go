package spool_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

var fuzzTag = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

const fuzzName = "0000000000000001-0102030405060708.log"

func FuzzDecodeEntry(f *testing.F) {
	r := record("modbus", 5)
	f.Add(spool.EncodeEntry(r, 9, fuzzTag, 3))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, spool.HeadSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, p, ok := spool.DecodeEntry(b, fuzzTag)
		if ok && (p == 0 || len(got.Driver)+len(got.Data)+spool.HeadSize > len(b)) {
			t.Errorf("%+v at %d out of %d bytes", got, p, len(b))
		}
	})
}

func TestEntryRoundTrip(t *testing.T) {
	for _, r := range []spool.Record{{}, record("modbus", 1), {Driver: string(make([]byte, 255)), Epoch: 1<<64 - 1, Sequence: 1<<64 - 1, Data: make([]byte, 100000)}} {
		b := spool.EncodeEntry(r, 10, fuzzTag, 9)
		got, p, ok := spool.DecodeEntry(b, fuzzTag)
		if !ok || p != 10 || got.Driver != r.Driver || got.Epoch != r.Epoch || got.Sequence != r.Sequence || !bytes.Equal(got.Data, r.Data) {
			t.Errorf("%+v %d %v", got, p, ok)
		}
		for i := range min(len(b), 400) {
			b[i] ^= 0x10
			if _, _, ok := spool.DecodeEntry(b, fuzzTag); ok {
				t.Errorf("a flipped bit in byte %d passes", i)
			}
			b[i] ^= 0x10
		}
	}
}

// FuzzOpenMangledFile opens whatever a disk may hold, reads it to the end, and
// goes on with it.
func FuzzOpenMangledFile(f *testing.F) {
	var seed []byte
	for n := uint64(1); n <= 6; n++ {
		seed = append(seed, spool.EncodeEntry(record("modbus", n), spool.Position(n), fuzzTag, int(n-1)%3)...)
	}
	f.Add(seed, []byte(nil))
	f.Add(seed[:len(seed)-40], seed)
	f.Add(append([]byte("rubbish"), seed...), []byte("flsplend00000000"))
	f.Fuzz(func(t *testing.T, log, end []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{fuzzName: log, "end": end} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, spool.Options{CommitEvery: time.Nanosecond})
		before := s.End()
		stored := make(chan error, 1)
		s.Append(spool.Record{Driver: "new", Data: []byte("x")}, func(err error) { stored <- err })
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
		r := s.Read(0)
		for next := r.Position(); ; {
			rec, p, err := r.Next()
			var loss *spool.LossError
			switch {
			case errors.As(err, &loss) && loss.From == next && loss.To > next:
				next = loss.To
				continue
			case errors.Is(err, io.EOF) && next == before+1:
				return
			case err != nil || p != next:
				t.Fatalf("record at %d, %v; want %d; the log ended at %d, now %d", p, err, next, before, s.End())
			case p == before && rec.Driver != "new":
				t.Fatalf("the new record is %+v", rec)
			}
			next = p + 1
		}
	})
}
