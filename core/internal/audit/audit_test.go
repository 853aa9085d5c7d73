package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/audit"
)

// fill writes n entries into dir.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	l, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := l.Append(&audit.Entry{Point: "a/b/c", New: audit.Value(i), Result: audit.Asked}, i == n-1); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) (*audit.Report, int) {
	t.Helper()
	n := 0
	r, err := audit.Read(dir, func(*audit.Entry) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return r, n
}

func only(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	return names[0]
}

func TestChainGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	for range 3 {
		fill(t, dir, 5)
	}
	if r, n := read(t, dir); n != 15 || r.First != 1 || r.Last != 15 || len(r.Wrong) > 0 {
		t.Errorf("%d lines, %+v", n, r)
	}
}

func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	l, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 50 {
				if err := l.Append(&audit.Entry{Point: "p"}, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, n := read(t, dir); n != 400 || len(r.Wrong) > 0 {
		t.Errorf("%d lines, %+v", n, r)
	}
}

// TestEveryChangeIsFound changes each byte of a file in turn, and takes out each line.
func TestEveryChangeIsFound(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 4)
	path := only(t, dir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := func(what string, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, _ := read(t, dir); len(r.Wrong) == 0 {
			t.Errorf("%s: not found", what)
		}
	}
	for i, c := range good {
		if c == '\n' {
			continue // see the lines below
		}
		changed := append([]byte(nil), good...)
		changed[i] ^= 1
		if changed[i] == '\n' {
			continue
		}
		broken(fmt.Sprintf("byte %d", i), changed)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(good), "\n"), "\n")
	for i := range len(lines) - 1 { // the last one is the log's to prove
		left := append(append([]string(nil), lines[:i]...), lines[i+1:]...)
		if i == 0 {
			continue // what was removed by its age cannot be told from this
		}
		broken(fmt.Sprintf("line %d taken out", i+1), []byte(strings.Join(left, "")))
	}
	broken("lines swapped", []byte(lines[0]+lines[2]+lines[1]+lines[3]))
	broken("a line twice", []byte(lines[0]+lines[1]+lines[1]+lines[2]))
}

// TestTornLine: what the machine left of a line when it stopped is told, and the chain goes
// on behind it.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	path := only(t, dir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < 60; cut++ {
		if err := os.WriteFile(path, good[:len(good)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		fill(t, dir, 2)
		want := 4 // two whole lines and two more
		if cut == 1 {
			want = 5 // only the end of the line is missing
		}
		if r, n := read(t, dir); n != want || len(r.Wrong) > 0 || r.Last != uint64(want) {
			t.Fatalf("%d bytes cut off: %d lines, %+v", cut, n, r)
		}
	}
}

func TestValue(t *testing.T) {
	if v := string(audit.Value(strings.Repeat("x", 10_000))); !strings.HasPrefix(v, `{"bytes":10002,"sha256":"`) {
		t.Errorf("a long value is kept as %s", v)
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]bool{"memory": false, "disk": true} {
		b.Run(name, func(b *testing.B) {
			l, err := audit.Open(filepath.Join(b.TempDir(), "audit"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			for b.Loop() {
				if err := l.Append(&audit.Entry{Point: "line1/m1/setpoint", User: "root", New: audit.Value(42.5), Result: audit.Asked}, sync); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
