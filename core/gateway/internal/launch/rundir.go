package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/internal/socket"
)

const runDirFor = "fieldloom-"

// A RunDir is the directory of the driver processes' sockets and output. It keeps its place
// while the gateway runs.
type RunDir struct {
	Path   string
	others bool // a driver with a user of its own gets to it
}

// Stranded is a driver of c whose user does not get to the directory; empty: there is none.
func (d RunDir) Stranded(c *config.Config) string {
	if d.others {
		return ""
	}
	return otherUser(c)
}

// OpenRunDir finds the directory of the driver processes' sockets and output, and makes
// it where it is not there. It stays the same across restarts: detached drivers live in
// it, and the book remembers which one it is.
func OpenRunDir(c *config.Config, book *choices.Book) (RunDir, error) {
	dataDir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return RunDir{}, fmt.Errorf("run directory: %w", err)
	}
	mode := fs.FileMode(0o700)
	dir := filepath.Join(dataDir, "run")
	others := otherUser(c) != ""
	if others {
		mode = 0o711 // so that they get to their own sockets
	}
	before := book.Get().RunDir
	if before != "" && !others && isPrivate(before, mode) == nil {
		return RunDir{before, others}, nil
	}
	if len(dir) > socket.MaxRunDir || others { // nobody else passes through the data directory
		name := sha256.Sum256([]byte(dataDir))
		parent, shared := runtimeDir()
		if shared {
			dir, err = privateIn(parent, before)
		} else {
			dir = filepath.Join(parent, runDirFor+hex.EncodeToString(name[:8]))
		}
	}
	if err == nil {
		err = makePrivate(dir, mode)
	}
	if err != nil {
		return RunDir{}, err
	}
	if before != dir {
		err = book.Change(func(c *choices.Choices) { c.RunDir = dir })
	}
	return RunDir{dir, others}, err
}

// otherUser is a driver that runs as another user than the gateway; "": none does.
func otherUser(c *config.Config) string {
	for _, driverName := range c.Drivers() {
		if c.Process(driverName).User != "" && os.Geteuid() == 0 {
			return driverName
		}
	}
	return ""
}

// runtimeDir is the user's directory for sockets, else that for temporary files, which
// is shared: anybody makes files in it.
func runtimeDir() (dir string, shared bool) {
	if os.Geteuid() == 0 {
		return "/run", false
	}
	dir = os.Getenv("XDG_RUNTIME_DIR")
	if filepath.IsAbs(dir) && len(dir) < socket.MaxRunDir-len(runDirFor)-16 && isPrivate(dir, 0o700) == nil {
		return dir, false
	}
	return os.TempDir(), true
}

// privateIn is the directory that was used before, where it is still this user's, else one
// of a new name: a name that is known beforehand could be taken by anybody, for ever.
func privateIn(shared, before string) (string, error) {
	if info, err := os.Lstat(before); err == nil && info.IsDir() && owned(info) && filepath.Dir(before) == shared {
		return before, nil
	}
	dir, err := os.MkdirTemp(shared, runDirFor)
	if err != nil {
		return "", fmt.Errorf("run directory: %w", err)
	}
	return dir, nil
}

func makePrivate(dir string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil && !os.IsExist(err) {
		return fmt.Errorf("run directory: %w", err)
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() && owned(info) && info.Mode().Perm() != mode {
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
	}
	return isPrivate(dir, mode)
}

// isPrivate returns why a directory cannot be trusted with sockets.
func isPrivate(dir string, mode fs.FileMode) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("run directory: %w", err)
	case !info.IsDir() || !owned(info) || info.Mode().Perm()&^mode != 0:
		return fmt.Errorf("run directory %s: it is not a directory that only this user can change: remove it", dir)
	}
	return nil
}

func owned(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}
