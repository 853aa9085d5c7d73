package plugin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sweep removes the directories that processes have left in a run directory: a core that
// was killed removes none, and a confined process cannot remove its own. Those in keep stay,
// and those in which a process has a socket. It is for the start of a core, before it
// starts processes of its own.
func Sweep(runDir string, keep []string) error {
	runDir, err := filepath.Abs(runDir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	used, err := socketDirs()
	if err != nil {
		return err
	}
	for _, dir := range keep {
		used[filepath.Clean(dir)] = true
	}
	for _, entry := range entries {
		dir := filepath.Join(runDir, entry.Name())
		if entry.IsDir() && strings.HasPrefix(entry.Name(), socketDirPrefix) && !used[dir] {
			err = errors.Join(err, removeDir(dir))
		}
	}
	return err
}

// socketDirs are the directories of all Unix sockets of the machine that somebody has
// open, as far as their paths tell; see proc(5).
func socketDirs() (map[string]bool, error) {
	list, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		if at := strings.IndexByte(line, '/'); at >= 0 { // only a path has one
			dirs[filepath.Dir(strings.TrimRight(line[at:], "\n"))] = true
		}
	}
	return dirs, nil
}
