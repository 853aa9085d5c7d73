package host

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// awaitDeath blocks until the child pid is dead, and leaves its remains: until
// somebody waits for it, its number, and that of its group and session, is not
// given to another. It is not ok where the kernel does not let it know.
func awaitDeath(pid int) (ok bool) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// killSession kills every process of the session, in whatever group it is. Its
// leader's number must not have been given to another process.
func killSession(session int) {
	_ = unix.Kill(-session, unix.SIGKILL)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == session {
			continue
		}
		if s, err := wire.StatOf(pid); err == nil && s.Session == session {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// killOrphans is killSession for a leader that was not this process's child, and
// whose number may be another's by now: then nothing is left of its session, for
// the number of a session is not given out.
func killOrphans(leader int, start uint64) {
	if now, err := wire.StatOf(leader); err == nil && now.Start != start {
		return
	}
	killSession(leader)
}
