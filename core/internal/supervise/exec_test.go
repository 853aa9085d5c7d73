package supervise_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"driver-good": 0o755, "driver-plain": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "driver-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := supervise.Find(dir, "good"); err != nil || path != filepath.Join(dir, "driver-good") {
		t.Errorf("good: %s, %v", path, err)
	}
	for kind, want := range map[string]string{
		"plain": "not an executable", "dir": "not an executable", "none": "there is no driver-none in " + dir,
		"../good": "not the name of a driver", "": "not the name of a driver", "..": "there is no driver-..",
	} {
		if _, err := supervise.Find(dir, kind); driver.CodeOf(err) != driver.InvalidConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", kind, err, want)
		}
	}
}
