package plugin

import (
	"os"
	"syscall"
)

// ignored are the signals that do not end a driver: the core decides when it ends.
var ignored = []os.Signal{syscall.SIGPIPE, os.Interrupt}

// isLocked reports whether the file of whoever tries the driver is there. The gateway, and
// so the trial of a driver, runs on Linux only.
func isLocked(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
