package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *state.DB {
	t.Helper()
	d, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// put stores pairs in a bucket, which is made.
func put(t testing.TB, d *state.DB, bucket string, from, to int, value string) {
	t.Helper()
	err := d.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		for i := from; i < to && err == nil; i++ {
			err = b.Put(fmt.Appendf(nil, "key-%05d", i), fmt.Appendf(nil, "%s-%d", value, i))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func contents(t testing.TB, d *state.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(path string, b *bolt.Bucket) error
	walk = func(path string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(path+"/"+string(k), b.Bucket(k))
			}
			all[path+"/"+string(k)] = string(v)
			return nil
		})
	}
	err := d.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if string(name) == "sums" {
				return nil
			}
			return walk(string(name), b)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// filled makes a database of several sizes of buckets and gives its file, an older one,
// its copy, what it holds, and what it held before its last change.
func filled(t testing.TB) (now, before, spare []byte, want, undone map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	d := open(t, path)
	put(t, d, "large", 0, 1500, "v")
	put(t, d, "small", 0, 3, "v")
	if err := d.UpdateIn([][]byte{[]byte("store"), []byte("modbus"), []byte("line1")}, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("store"))
		if err == nil {
			b, err = b.CreateBucketIfNotExists([]byte("modbus"))
		}
		if err == nil {
			b, err = b.CreateBucketIfNotExists([]byte("line1"))
		}
		if err != nil {
			return err
		}
		return errors.Join(b.Put([]byte("k"), bytes.Repeat([]byte("x"), 20000)), b.Put([]byte("empty"), nil))
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before = read(t, path)
	d = open(t, path)
	put(t, d, "small", 1, 4, "new")
	undone = contents(t, d)
	put(t, d, "large", 700, 760, "new")
	want = contents(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, path), before, read(t, path+".copy"), want, undone
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const pageSize = 4096

// damage is one way to spoil page n of a file; before is an older copy of it.
type damage struct {
	name  string
	spoil func(b, before []byte, page int) []byte
}

var damages = []damage{
	{"flipped", func(b, _ []byte, page int) []byte {
		b[page*pageSize+rand.IntN(pageSize)] ^= 1 << rand.IntN(8)
		return b
	}},
	{"flipped in its head", func(b, _ []byte, page int) []byte {
		b[page*pageSize+rand.IntN(80)] ^= 1 << rand.IntN(8)
		return b
	}},
	{"filled", func(b, _ []byte, page int) []byte {
		for i := range pageSize {
			b[page*pageSize+i] = byte(rand.Uint32())
		}
		return b
	}},
	{"zeroed", func(b, _ []byte, page int) []byte { clear(b[page*pageSize : (page+1)*pageSize]); return b }},
	{"cut", func(b, _ []byte, page int) []byte { return b[:page*pageSize+rand.IntN(pageSize)] }},
	{"swapped with an older copy", func(b, before []byte, page int) []byte {
		if len(before) >= (page+1)*pageSize {
			copy(b[page*pageSize:(page+1)*pageSize], before[page*pageSize:])
		}
		return b
	}},
	{"swapped with its neighbour", func(b, _ []byte, page int) []byte {
		other := page ^ 1
		if len(b) >= (other+1)*pageSize {
			tmp := bytes.Clone(b[page*pageSize : (page+1)*pageSize])
			copy(b[page*pageSize:], b[other*pageSize:(other+1)*pageSize])
			copy(b[other*pageSize:], tmp)
		}
		return b
	}},
}

// Whatever happens to the file, nothing panics, and what is there afterwards is all
// there was, or where there is no copy it may be nothing, and said.
func TestFaultEveryDamageOfAPage(t *testing.T) {
	now, before, spare, want, undone := filled(t)
	pages := len(now) / pageSize
	step := 7
	if chaos {
		step = 1
	}
	n, told := 0, 0
	for _, dmg := range damages {
		for page := 0; page < pages; page += step {
			for _, withCopy := range []bool{true, false} {
				n++
				dir := t.TempDir()
				path := filepath.Join(dir, "state.db")
				spoiled := dmg.spoil(bytes.Clone(now), before, page)
				write(t, path, spoiled)
				if withCopy {
					write(t, path+".copy", spare)
				}
				d := open(t, path)
				judge(t, d, verdict{withCopy, page < 2 && strings.HasPrefix(dmg.name, "swapped"), fmt.Sprintf("page %d %s, copy %v", page, dmg.name, withCopy)}, want, undone)
				told += len(d.Findings())
				put(t, d, "small", 0, 1, "after")
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				again := open(t, path)
				if len(again.Findings()) > 0 {
					t.Fatalf("page %d %s: opened again: %q", page, dmg.name, again.Findings())
				}
				again.Close()
				os.RemoveAll(dir)
			}
		}
	}
	t.Logf(`{"fault":"a page of state.db flipped, filled, zeroed, cut or swapped","rounds":%d,"told":%d,"panics":0,"wrong":0}`, n, told)
}

type verdict struct {
	withCopy bool
	head     bool // a head is swapped with an older one
	name     string
}

// judge checks what is there after a damage, and what is said.
func judge(t *testing.T, d *state.DB, v verdict, want, undone map[string]string) {
	t.Helper()
	got, said := contents(t, d), strings.Join(d.Findings(), "\n")
	aside, _ := filepath.Glob(d.Path() + ".aside-*")
	switch {
	case cmp.Equal(want, got):
	case v.withCopy:
		t.Fatalf("%s:\n%s", v.name, cmp.Diff(want, got))
	case cmp.Equal(undone, got) && (strings.Contains(said, "goes on with the other; the last change before the damage may be lost") || v.head):
		return // without a copy nothing but the head tells of the last change
	case len(got) > 0:
		t.Fatalf("%s:\n%s", v.name, cmp.Diff(want, got))
	case !strings.HasPrefix(said, d.Path()) || !strings.Contains(said, "lost are the operator's choices"):
		t.Fatalf("%s: all is lost, told as %q", v.name, said)
	}
	if d.Restored() && len(aside) != 1 && !strings.Contains(said, "goes on with the other") {
		t.Fatalf("%s: the damaged file is not kept: %q", v.name, said)
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnOlderDatabaseDoesNotUndoAnything(t *testing.T) {
	_, before, spare, want, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	write(t, path, before)
	write(t, path+".copy", spare)
	d := open(t, path)
	defer d.Close()
	if diff := cmp.Diff(want, contents(t, d)); diff != "" {
		t.Error(diff)
	}
	if f := d.Findings(); len(f) != 1 || !strings.Contains(f[0], "is older than its copy") || !d.Restored() {
		t.Errorf("told %q", f)
	}
}

func TestAMissingDatabaseComesBackFromItsCopy(t *testing.T) {
	_, _, spare, want, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	write(t, path+".copy", spare)
	d := open(t, path)
	defer d.Close()
	if diff := cmp.Diff(want, contents(t, d)); diff != "" || len(d.Findings()) != 1 {
		t.Errorf("%q\n%s", d.Findings(), diff)
	}
}

func TestADamagedCopyIsMadeAnew(t *testing.T) {
	now, _, spare, want, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	write(t, path, now)
	write(t, path+".copy", spare[:len(spare)/2])
	d := open(t, path)
	if diff := cmp.Diff(want, contents(t, d)); diff != "" || len(d.Findings()) != 0 {
		t.Errorf("%q\n%s", d.Findings(), diff)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d = open(t, path)
	defer d.Close()
	if diff := cmp.Diff(want, contents(t, d)); diff != "" {
		t.Error(diff)
	}
}

// A database of an earlier version, which sealed nothing, is taken as it is.
func TestADatabaseWithoutASealIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("gateway"))
		if err != nil {
			return err
		}
		return b.Put([]byte("epoch"), []byte("00000007"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	put(t, d, "small", 0, 1, "v")
	d.Close()
	d = open(t, path)
	defer d.Close()
	if got := contents(t, d); got["gateway/epoch"] != "00000007" || got["small/key-00000"] == "" || len(d.Findings()) > 0 {
		t.Errorf("%v %q", got, d.Findings())
	}
}

func TestReadOnlyRefusesDamage(t *testing.T) {
	now, _, _, _, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state.db")
	write(t, path, now)
	d, err := state.ReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	clear(now[2*pageSize:])
	write(t, path, now)
	if d, err := state.ReadOnly(path); err == nil {
		d.Close()
		t.Error("a damaged database was opened")
	}
}

func FuzzOpen(f *testing.F) {
	now, _, _, _, _ := filled(f)
	f.Add(now[:6*pageSize], uint16(100), byte(7))
	f.Add(now, uint16(2*pageSize+20), byte(255))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, v byte) {
		if int(at) < len(b) {
			b = bytes.Clone(b)
			b[at] ^= v
		}
		path := filepath.Join(t.TempDir(), "state.db")
		write(t, path, b)
		d := open(t, path)
		contents(t, d)
		put(t, d, "small", 0, 2, "v")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The first key of a branch, which no search looks at, is checked as well: the database
// itself checks it when it is opened, and panics.
func TestFirstKeysOfBranches(t *testing.T) {
	now, _, spare, want, undone := filled(t)
	n := 0
	for page := 2; page < len(now)/pageSize; page++ {
		at := page * pageSize
		if flags := binary.NativeEndian.Uint16(now[at+8:]); flags != 1 {
			continue
		}
		key := at + 16 + int(binary.NativeEndian.Uint32(now[at+16:]))
		for i := range int(binary.NativeEndian.Uint32(now[at+20:])) {
			for _, bit := range []byte{1, 0x80} {
				n++
				path := filepath.Join(t.TempDir(), "state.db")
				spoiled := bytes.Clone(now)
				spoiled[key+i] ^= bit
				write(t, path, spoiled)
				write(t, path+".copy", spare)
				d := open(t, path)
				judge(t, d, verdict{true, false, fmt.Sprintf("page %d, byte %d of the first key", page, i)}, want, undone)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("%d damages: the file has too few branches", n)
	}
}

// What the database writes is never taken for damaged, whatever is put and deleted in which
// order.
func TestSoundFilesAreSound(t *testing.T) {
	rounds := 20
	if chaos {
		rounds = 300
	}
	path := filepath.Join(t.TempDir(), "state.db")
	for round := range rounds {
		d := open(t, path)
		if f := d.Findings(); len(f) > 0 {
			t.Fatalf("round %d: %q", round, f)
		}
		low := rand.IntN(5000)
		for range 5 {
			err := d.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("b"))
				if err != nil {
					return err
				}
				for range 100 {
					key := binary.BigEndian.AppendUint32(nil, uint32(low+rand.IntN(2000)))
					if rand.IntN(5) < 2 {
						err = errors.Join(err, b.Delete(key))
					} else {
						err = errors.Join(err, b.Put(key, make([]byte, rand.IntN(300))))
					}
				}
				// The lowest keys go and come: a branch's first key is of one that is no more.
				at := b.Cursor()
				for k, _ := at.First(); k != nil && rand.IntN(40) > 0; k, _ = at.Next() {
					err = errors.Join(err, at.Delete())
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
