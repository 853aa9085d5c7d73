package spool_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/spool"
)

const damageRecords = 300

// hasty is for the many rounds: files that are small and groups that do not wait.
var hasty = spool.Options{FileBytes: 16 << 10, CommitEvery: time.Microsecond}

// whole is the image of a spool of several files with two drivers.
func whole(t *testing.T) image {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, smallFiles)
	for n := uint64(1); n <= damageRecords; n += 10 {
		fill(t, s, "modbus", n, n+9)
		fill(t, s, "mqtt", n, n+9)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return capture(t, dir)
}

// survive opens a damaged image and checks that exactly what is missing is told,
// that the rest is there once, and that the spool goes on. Of known the losses
// tell whose they were.
func survive(t *testing.T, img image) (lost, known uint64) {
	t.Helper()
	dir := img.restore(t)
	s, err := spool.Open(dir, hasty)
	if err != nil {
		t.Fatal(err)
	}
	got := readAll(t, s, 1)
	byDriver := map[string]uint64{}
	var missing, damaged uint64
	for _, l := range got.losses {
		if l.Cause == spool.Damaged {
			damaged += l.Records
		}
		for driver, n := range l.Drivers {
			byDriver[driver] += n
		}
	}
	for _, driver := range []string{"modbus", "mqtt"} {
		list := got.sequences[driver]
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s: out of order or twice: %v", driver, list)
		}
		n := damageRecords - uint64(len(list))
		if n < byDriver[driver] {
			t.Errorf("%d of %s are missing, the losses tell %d", n, driver, byDriver[driver])
		}
		missing, known = missing+n, known+byDriver[driver]
	}
	if missing != got.lost || s.Stats().Lost < damaged || s.Stats().Records != 2*damageRecords-missing {
		t.Errorf("%d are missing, %d told, stats %+v", missing, got.lost, s.Stats())
	}
	if rand.IntN(16) == 0 { // most of the time of a round
		fill(t, s, "modbus", damageRecords+1, damageRecords+3)
		after := readAll(t, s, 1)
		if after.lost != got.lost || len(after.sequences["modbus"]) != len(got.sequences["modbus"])+3 {
			t.Errorf("after more was appended: lost %d, before %d", after.lost, got.lost)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(dir)
	return missing, known
}

// flip gives a copy of the image with some bits of one file flipped.
func (img image) flip(name string, bits ...int) image {
	out := maps.Clone(img)
	b := slices.Clone(img[name])
	for _, bit := range bits {
		b[bit/8] ^= 1 << (bit % 8)
	}
	out[name] = b
	return out
}

func TestFaultFlippedBit(t *testing.T) {
	img := whole(t)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(img)), func(n string) bool { return len(img[n]) == 0 })
	n := rounds(1000, 10000)
	var total, told uint64
	for range n {
		name := names[rand.IntN(len(names))]
		bit := rand.IntN(8 * len(img[name]))
		lost, known := survive(t, img.flip(name, bit))
		total, told = total+lost, told+known
		if lost > 1 {
			t.Errorf("bit %d of %s costs %d records", bit, name, lost)
		}
		if t.Failed() {
			t.Fatalf("bit %d of %s", bit, name)
		}
	}
	t.Logf(`{"fault":"one flipped bit, then reopened","rounds":%d,"records":%d,"lost_at_most":1,"lost_on_average":%.2f,"driver_known":%.3f}`, n, 2*damageRecords, float64(total)/float64(n), float64(told)/float64(total))
}

func TestFaultManyFlippedBits(t *testing.T) {
	img := whole(t)
	logs := img.logs()
	n := rounds(100, 2000)
	var flips, total uint64
	for range n {
		name := logs[rand.IntN(len(logs))]
		bits := make([]int, 1+rand.IntN(20))
		for i := range bits {
			bits[i] = rand.IntN(8 * len(img[name]))
		}
		lost, _ := survive(t, img.flip(name, bits...))
		if lost > uint64(len(bits)) {
			t.Errorf("%d flipped bits cost %d records", len(bits), lost)
		}
		if t.Failed() {
			t.Fatalf("bits %v of %s", bits, name)
		}
		flips, total = flips+uint64(len(bits)), total+lost
	}
	t.Logf(`{"fault":"several flipped bits in a file","rounds":%d,"flips":%d,"lost":%d}`, n, flips, total)
}

func TestFaultFlippedBitWhileRunning(t *testing.T) {
	n := rounds(100, 1000)
	var total uint64
	for range n {
		dir := t.TempDir()
		s := open(t, dir, hasty)
		fill(t, s, "modbus", 1, 60)
		files := logFiles(t, dir)
		last := files[len(files)-1]
		b, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		at := rand.IntN(len(b))
		patch(t, last, at, b[at]^(1<<rand.IntN(8)))
		fill(t, s, "modbus", 61, 120)
		got := readAll(t, s, 1)
		if lost := 120 - uint64(len(got.sequences["modbus"])); lost > 1 || lost != got.lost {
			t.Fatalf("byte %d of %s costs %d records, %d told", at, last, lost, got.lost)
		}
		total += got.lost
		s.Close()
	}
	t.Logf(`{"fault":"one flipped bit under a running gateway","rounds":%d,"lost_at_most":1,"lost_on_average":%.2f}`, n, float64(total)/float64(n))
}

// TestFaultCutWhileRunning cuts the active file under a running gateway.
func TestFaultCutWhileRunning(t *testing.T) {
	for range rounds(30, 300) {
		dir := t.TempDir()
		s := open(t, dir, hasty)
		fill(t, s, "modbus", 1, 60)
		behind := s.Read(s.End())
		before := readAll(t, s, 1)
		files := logFiles(t, dir)
		last := files[len(files)-1]
		info, err := os.Stat(last)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(last, rand.Int64N(info.Size())); err != nil {
			t.Fatal(err)
		}
		lost := readAll(t, s, 1).lost
		fill(t, s, "modbus", 61, 120)
		if rec, _, err := behind.Next(); err != nil || rec.Sequence != 61 {
			t.Errorf("a reader at the end goes on with %d, %v", rec.Sequence, err)
		}
		for range 2 { // running, and opened again
			got := readAll(t, s, 1)
			// What is appended makes the file whole with zeros, and a record that
			// ended in those is back.
			n := uint64(len(got.sequences["modbus"]))
			if n+got.lost != 120 || got.lost > lost || got.lost+1 < lost || s.Stats().Lost < got.lost || before.lost > 0 {
				t.Fatalf("%d records and %d lost; %d before more was appended, %d counted", n, got.lost, lost, s.Stats().Lost)
			}
			s.Close()
			s = open(t, dir, hasty)
			readAll(t, s, 1)
		}
	}
}

func patch(t *testing.T, path string, at int, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// ends gives the offset at which each record of a file ends: the records of one
// file were appended in the order of whole.
func ends(t *testing.T, img image, name string) (list []int) {
	t.Helper()
	dir := image{name: img[name]}.restore(t)
	s := open(t, dir, smallFiles)
	at := len(img[name])
	var sizes []int
	r := s.Read(0)
	for {
		rec, _, err := r.Next()
		if err != nil {
			break
		}
		sizes = append(sizes, spool.HeadSize+len(rec.Driver)+len(rec.Data))
	}
	for _, n := range slices.Backward(sizes) {
		list = append(list, at)
		at -= n
	}
	slices.Reverse(list)
	return list
}

func TestFaultCutTail(t *testing.T) {
	img := whole(t)
	logs := img.logs()
	n := 0
	for _, name := range []string{logs[len(logs)-1], logs[1]} {
		offsets := ends(t, img, name)
		for cut := 0; cut < len(img[name]); cut += rounds(97, 5) {
			out := maps.Clone(img)
			out[name] = img[name][:cut]
			want := uint64(0)
			for _, end := range offsets {
				if end > cut {
					want++
				}
			}
			if lost, _ := survive(t, out); lost != want || t.Failed() {
				t.Fatalf("%s cut to %d of %d bytes costs %d records, want %d", name, cut, len(img[name]), lost, want)
			}
			n++
		}
	}
	t.Logf(`{"fault":"tail cut off by a foreign hand","offsets":%d,"lost_beyond_the_cut_off":0,"told_exactly":true}`, n)
}

func TestFaultMissingFiles(t *testing.T) {
	img := whole(t)
	logs := img.logs()
	for _, gone := range [][]string{{logs[1]}, {logs[len(logs)-1]}, {logs[2], logs[3]}, logs, {"end"}, {"lock"}} {
		out := maps.Clone(img)
		var want uint64
		for _, name := range gone {
			if filepath.Ext(name) == ".log" {
				want += uint64(len(ends(t, img, name)))
			}
			delete(out, name)
		}
		if lost, _ := survive(t, out); lost != want {
			t.Errorf("without %v: %d lost, want %d", gone, lost, want)
		}
	}
}

func TestFaultEveryBitOfAHead(t *testing.T) {
	img := whole(t)
	logs := img.logs()
	for _, name := range []string{logs[0], logs[len(logs)-1]} {
		first := ends(t, img, name)[0]
		for bit := 0; bit < 8*first; bit += rounds(41, 1) {
			if lost, _ := survive(t, img.flip(name, bit)); lost > 1 || t.Failed() {
				t.Fatalf("bit %d of %s costs %d records", bit, name, lost)
			}
		}
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	fill(t, s, "modbus", 1, 5)
	s.Close()
	for _, name := range []string{"notes.log", "0000000000000000-0000000000000000.log", "000000000000000g-0000000000000000.log", "0000000000000002-000000000000000g.log", "0000000000000001-0000000000000000.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("not ours"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, spool.Options{})
	if d := cmp.Diff(sequence(1, 5), readAll(t, s, 0).sequences["modbus"]); d != "" {
		t.Error(d)
	}
	if len(logFiles(t, dir)) != 6 {
		t.Error("a foreign file is gone")
	}
}
