package configure

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plantFiles is a configuration of n link files.
func plantFiles(n int) map[string][]byte {
	files := map[string][]byte{"fieldloom.yaml": []byte("gateway: g\n")}
	for i := range n {
		files[fmt.Sprintf("links/l%d.yaml", i)] = fmt.Appendf(nil, "links: {l%d: {driver: d, devices: {\"m[1..100]\": {points: {p: {address: a}}}}}}\n", i)
	}
	return files
}

// The copy is that of its directory, whole, private, and the last that was finished.
func TestLastGoodIsWhole(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if g := LastGood(dir); g != nil {
		t.Fatalf("before anything was kept: %+v", g)
	}
	files := plantFiles(3)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := saveGood(data, dir, files, at); err != nil {
		t.Fatal(err)
	}
	g := LastGood(dir)
	if g == nil || !g.Saved.Equal(at) {
		t.Fatalf("%+v", g)
	}
	if diff := cmp.Diff(files, g.files); diff != "" {
		t.Error(diff)
	}
	// what a killed gateway leaves is no copy, and goes with the next
	if err := os.Mkdir(filepath.Join(data, goodPrefix+"half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(data, "."+goodLink)); err != nil {
		t.Fatal(err)
	}
	delete(files, "links/l2.yaml")
	if err := saveGood(data, dir, files, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if g := LastGood(dir); g == nil || len(g.files) != 3 || !g.Saved.Equal(at.Add(time.Hour)) {
		t.Fatalf("%+v", g)
	}
	left, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	// the same again writes nothing, and another directory has none
	if err := saveGood(data, dir, files, at.Add(2*time.Hour)); err != nil || !LastGood(dir).Saved.Equal(at.Add(time.Hour)) {
		t.Errorf("the same was written again: %v", err)
	}
	if _, err := readGood(data, t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a copy of") {
		t.Errorf("of another directory: %v", err)
	}
}

// The data are found by a fieldloom.yaml that is wrong, however it is written.
func TestDataDirsOfWrongFiles(t *testing.T) {
	for _, text := range []string{"data: /var/x\nlog: {", "data: '/var/x' # here\n\tx", "{gateway: g, data: \"/var/x\", ]", "\"data\" : /var/x\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "fieldloom.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list := dataDirs(dir); !slices.Contains(list, "/var/x") || list[len(list)-1] != filepath.Join(dir, "data") {
			t.Errorf("%q: %v", text, list)
		}
	}
}

// What is kept costs a start or a reload so much: with files that are the same, and others.
func BenchmarkKeepConfiguration(b *testing.B) {
	for _, change := range []bool{false, true} {
		b.Run(fmt.Sprintf("100 files, changed %v", change), func(b *testing.B) {
			data := b.TempDir()
			files := plantFiles(100)
			for i := 0; b.Loop(); i++ {
				if change {
					files["fieldloom.yaml"] = fmt.Appendf(nil, "gateway: g%d\n", i)
				}
				if err := saveGood(data, data, files, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
