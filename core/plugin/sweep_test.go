package plugin_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fieldloom/fieldloom/core/plugin"
)

func TestSweepTakesWhatNobodyUses(t *testing.T) {
	c := command("fake")
	c.RunDir = t.TempDir()
	p, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	alive := filepath.Base(filepath.Dir(p.Identity().Address))
	left := []string{"plugin-dir1", "plugin-dir2/sub/sub", "plugin-dir3", "other", "plugin-file"}
	for _, name := range left {
		if err := os.MkdirAll(filepath.Join(c.RunDir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.RunDir, name, "stderr"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(c.RunDir, "plugin-dir4")); err != nil {
		t.Fatal(err)
	}
	if err := plugin.Sweep(c.RunDir, []string{filepath.Join(c.RunDir, "plugin-dir3")}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(c.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"other", "plugin-dir3", "plugin-dir4", "plugin-file", alive}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left are %v, want %v", names, want)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := plugin.Sweep(filepath.Join(c.RunDir, "nowhere"), nil); err != nil {
		t.Errorf("of a directory that is not there: %v", err)
	}
}
