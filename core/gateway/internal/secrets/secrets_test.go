package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
)

// put writes a file of a mode into dir.
func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "plain", "hunter2\n", 0o600)
	put(t, dir, "windows", "hunter2\r\n", 0o400)
	put(t, dir, "two", "a\nb\n\n", 0o600)
	put(t, dir, "open", "hunter2", 0o640)
	put(t, dir, "world", "hunter2", 0o604)
	put(t, dir, "empty", "\n", 0o600)
	put(t, dir, "huge", strings.Repeat("hunter2", maxSecret), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		code       driver.Code
		says       string
	}{
		{"plain", "hunter2", driver.OK, ""},
		{"windows", "hunter2", driver.OK, ""},
		{"two", "a\nb\n", driver.OK, ""},
		{"open", "", driver.Denied, "has mode 0640, so others than its owner can get at it: chmod 600"},
		{"world", "", driver.Denied, "has mode 0604"},
		{"empty", "", driver.NotFound, "is empty"},
		{"huge", "", driver.BadValue, "is longer than"},
		{"dir", "", driver.Denied, "is not a file"},
		{"pipe", "", driver.Denied, "is not a file"},
		{"none", "", driver.NotFound, "there is no file " + filepath.Join(dir, "none") + ": write one with mode 0600"},
	} {
		got, err := Read(dir, c.name)
		if string(got) != c.want || (err == nil) != (c.says == "") {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if err == nil {
			continue
		}
		if driver.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v: %v", c.name, driver.CodeOf(err), err)
		}
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, "plain"); driver.CodeOf(err) != driver.Denied || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a directory that others may write: %v", err)
	}
}
