package audit

import (
	"path/filepath"
	"testing"
)

// TestFiles: a full file is followed by another, the oldest are removed, and the chain
// goes through all that are left.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.maxFile = 1000
	const lines = 200
	for range lines {
		if err := l.Append(&Entry{Point: "p"}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != maxFiles {
		t.Fatalf("%d files, %v", len(names), err)
	}
	n := uint64(0)
	r, err := Read(dir, func(*Entry) error { n++; return nil })
	if err != nil || r.First == 1 || r.Last != lines || r.Last-r.First+1 != n || len(r.Wrong) > 0 {
		t.Errorf("%d lines, %+v, %v", n, r, err)
	}
}

// TestMissedIsCounted: what could not be written is told by the next line that could.
func TestMissedIsCounted(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.dir = filepath.Join(dir, "gone")
	for range 3 {
		if err := l.Append(&Entry{Point: "p"}, true); err == nil {
			t.Fatal("an entry was written into a directory that is not there")
		}
	}
	l.dir = dir
	if err := l.Append(&Entry{Point: "p"}, true); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if r, err := Read(dir, func(*Entry) error { return nil }); err != nil || r.Missed != 3 || len(r.Wrong) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
