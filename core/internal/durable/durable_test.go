package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

func TestReplaceLeavesOnePrivateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "record")
	// A draft of a process that was killed does not stand in the way.
	if err := os.WriteFile(path+durable.DraftSuffix, []byte("half of something long"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "2nd"} {
		if err := durable.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q %v, want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

// What cannot be put in its place leaves what was there, and no draft.
func TestReplaceThatFailsLeavesWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	if _, err := os.Stat(path + durable.DraftSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the draft: %v", err)
	}
}

func TestCreateOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(durable.Create(path, []byte("first")), durable.SyncDir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written twice: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("%q %v", got, err)
	}
}
