package plugin_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

// Where the core may mount, the directory of a process is a file system of its own, which is
// full before the disk is, and nothing is left of it.
func TestRoomIsBounded(t *testing.T) {
	c := command("fake")
	c.RunDir = t.TempDir()
	c.Room = host.Room{Bytes: 4 << 20, Files: 32}
	p, err := host.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	dir := p.Dir()
	err = os.WriteFile(filepath.Join(dir, "large"), make([]byte, 8<<20), 0o600)
	if bounded := errors.Is(err, syscall.ENOSPC); bounded != mayMount(t) {
		t.Errorf("8 MiB into 4: %v, although the core may mount: %v", err, mayMount(t))
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
}

// mayMount reports whether this process may mount what a restarted core finds again.
func mayMount(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	if unix.Mount("test", dir, "tmpfs", 0, "") != nil {
		return false
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	first, firstErr := os.Readlink("/proc/1/ns/mnt")
	return err == nil && firstErr == nil && own == first
}
