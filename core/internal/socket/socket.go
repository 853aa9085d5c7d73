// Package socket knows how long the path of a Unix socket may be.
package socket

import (
	"fmt"
	"os"
)

const (
	// MaxPath is the longest path that fits into sockaddr_un, which has 108 bytes, with the
	// zero at its end; see unix(7).
	MaxPath = 107
	// MaxRunDir is the longest directory in which a driver process can be run: go-plugin makes
	// plugin-dirN in it and a Go driver pluginN in that, with ten digits at most.
	MaxRunDir = MaxPath - len("/plugin-dir0123456789/plugin0123456789")
)

// In returns a path of the socket of a name in an open directory. It fits however long the
// directory's own is, as long as the directory is open.
func In(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
