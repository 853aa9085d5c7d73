package catalog_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/internal/catalog"
)

func TestDamage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(testing.TB, *bolt.DB)
		want   string
	}{
		{"block", func(t testing.TB, db *bolt.DB) { catalog.Flip(t, db, "blocks") }, "block of handle 1: wrong checksum"},
		{"strings", func(t testing.TB, db *bolt.DB) { catalog.Flip(t, db, "strings") }, "block of handle 1: names: stored under the hash of others"},
		{"overlap", func(t testing.TB, db *bolt.DB) {
			catalog.PutBlock(t, db, 2, "l", "d", "p")
		}, "block of handle 2: overlaps another"},
		{"no names", func(t testing.TB, db *bolt.DB) { catalog.PutBlock(t, db, 99, "l", "d") }, "block of handle 99: a block without handles"},
		{"beyond", func(t testing.TB, db *bolt.DB) {
			catalog.PutBlock(t, db, 1<<32-1, "l", "d", "p", "q")
		}, "block of handle 4294967295: overlaps another"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := openDB(t, filepath.Join(t.TempDir(), "state.db"))
			states(t, open(t, db), plant)
			tc.damage(t, db)
			_, err := catalog.Open(db)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "restore state.db") {
				t.Errorf("error %v, want %q and what to do", err, tc.want)
			}
		})
	}
}

func TestDecodeStrings(t *testing.T) {
	for _, list := range [][]string{{}, {""}, {"a", "", "bc"}, {strings.Repeat("x", 1024)}} {
		got, err := catalog.DecodeStrings(catalog.EncodeStrings(list))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list, got); diff != "" {
			t.Error(diff)
		}
	}
	for name, record := range map[string][]byte{
		"empty":        nil,
		"short":        {1, 0, 0, 0},
		"version":      catalog.Seal([]byte{9, 0}),
		"huge count":   catalog.Seal([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}),
		"count":        catalog.Seal([]byte{1, 2, 0}),
		"long string":  catalog.Seal([]byte{1, 1, 0xff, 0x7f}),
		"cut string":   catalog.Seal([]byte{1, 1, 5, 'a'}),
		"trailing":     catalog.Seal([]byte{1, 0, 0}),
		"no count":     catalog.Seal([]byte{1}),
		"endless uint": catalog.Seal([]byte{1, 0x80, 0x80}),
	} {
		if got, err := catalog.DecodeStrings(record); err == nil {
			t.Errorf("%s: decoded as %q", name, got)
		}
	}
}

func FuzzDecodeStrings(f *testing.F) {
	f.Add([]byte{1, 2, 1, 'a', 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, content []byte) {
		list, err := catalog.DecodeStrings(catalog.Seal(bytes.Clone(content)))
		if err != nil {
			return
		}
		again, err := catalog.DecodeStrings(catalog.EncodeStrings(list))
		if err != nil || cmp.Diff(list, again) != "" {
			t.Fatalf("%q came back as %q, %v", list, again, err)
		}
	})
}

func FuzzDecodeBlock(f *testing.F) {
	f.Add(append(append([]byte{1, 3}, make([]byte, 32)...), 1, 'l', 1, 'd'))
	f.Add([]byte{1, 3})
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := catalog.DecodeBlock(catalog.Seal(bytes.Clone(content)))
		if err != nil {
			return
		}
		again, err := catalog.DecodeBlock(r.Reencode())
		if err != nil || *again != *r {
			t.Fatalf("%+v came back as %+v, %v", r, again, err)
		}
		if _, err := catalog.DecodeBlock(content); err == nil && len(content) < 39 {
			t.Fatal("took a record without a checksum")
		}
	})
}
