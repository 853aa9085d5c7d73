//go:build unix

package plugin

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignored are the signals that do not end a driver: the core decides when it ends, not a
// Ctrl-C in its terminal, not a line written to the stderr of a core that is dead, and
// not one too many.
var ignored = []os.Signal{syscall.SIGPIPE, syscall.SIGINT, syscall.SIGXFSZ}

// isLocked reports whether the process that has locked a file of its own lives. Of a file
// that is there and cannot be opened it is believed to.
func isLocked(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
