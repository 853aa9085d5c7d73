package datadir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
)

func TestDataDirectoryIsPrivateAndTakenOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	d, err := datadir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, "state.db"): 0o600, filepath.Join(dir, "lock"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if _, err := datadir.Open(dir); err == nil || !strings.Contains(err.Error(), "another gateway runs on it (pid ") {
		t.Errorf("taken twice: %v", err)
	}
	first := d.Epoch
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := datadir.Open(dir)
	if err != nil {
		t.Fatalf("the directory was not let go: %v", err)
	}
	if again.Epoch <= first {
		t.Errorf("epoch %d after %d", again.Epoch, first)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
