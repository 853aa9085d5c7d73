package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/socket"
)

// runDirOf opens the run directory of a gateway with a data directory.
func runDirOf(t *testing.T, dataDir, main string) (string, error) {
	t.Helper()
	d, err := datadir.Open(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("data: " + dataDir + "\n" + main)})
	if err != nil {
		t.Fatal(err)
	}
	book, err := choices.Open(d.DB)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := OpenRunDir(c, book)
	return dir.Path, err
}

func TestRunDirIsPrivateAndTheSameAgain(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "fl-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	long := filepath.Join(short, strings.Repeat("d", 100))
	for _, dataDir := range []string{filepath.Join(short, "data"), long} {
		first, err := runDirOf(t, dataDir, "socket: s\n")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(first) })
		info, err := os.Lstat(first)
		if err != nil || info.Mode() != os.ModeDir|0o700 || len(first) > socket.MaxRunDir {
			t.Errorf("%s: %v, %v", first, info.Mode(), err)
		}
		if again, err := runDirOf(t, dataDir, "socket: s\n"); err != nil || again != first {
			t.Errorf("%s, then %s, %v", first, again, err)
		}
		if err := os.Chmod(first, 0o777); err != nil {
			t.Fatal(err)
		}
		if again, err := runDirOf(t, dataDir, "socket: s\n"); err != nil || again != first {
			t.Errorf("its mode was not mended: %s, %v", again, err)
		}
		if info, err := os.Lstat(first); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

func TestRunDirOfAnotherIsRefused(t *testing.T) {
	dataDir, err := os.MkdirTemp("/tmp", "fl-") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dataDir)
	if err := os.Symlink("/tmp", filepath.Join(dataDir, "run")); err != nil {
		t.Fatal(err)
	}
	if dir, err := runDirOf(t, dataDir, "socket: s\n"); err == nil {
		t.Errorf("a symbolic link to a directory of everybody's was taken: %s", dir)
	}
}

// In a directory that everybody writes to, no name is known beforehand: whoever makes one first
// keeps no gateway from its start, also where it was the gateway's before.
func TestRunDirInASharedDirectory(t *testing.T) {
	shared := t.TempDir()
	first, err := privateIn(shared, "")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(first); err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("%s: %v, %v", first, info.Mode(), err)
	}
	if again, err := privateIn(shared, first); err != nil || again != first {
		t.Errorf("%s, then %s, %v", first, again, err)
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/tmp", first); err != nil { // somebody took its name
		t.Fatal(err)
	}
	other, err := privateIn(shared, first)
	if err != nil || other == first || isPrivate(other, 0o700) != nil {
		t.Errorf("the name that somebody took was %s, the next one is %s: %v", first, other, err)
	}
	if second, err := privateIn(shared, ""); err != nil || second == other {
		t.Errorf("the name can be known: %s, %v", second, err)
	}
}
