//go:build unix

package procs

import (
	"time"

	"golang.org/x/sys/unix"
)

// used is the CPU that the process has taken.
func used() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
