package plugin

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
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

// killSession kills every process of the session, in whatever group it is.
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
		if stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat"); err == nil && sessionOf(stat) == session {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// sessionOf reads the session of a /proc/PID/stat; see proc(5). The name in
// parentheses may hold anything, so the fields are counted from its end.
func sessionOf(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 4 {
		return -1
	}
	session, err := strconv.Atoi(string(fields[3]))
	if err != nil {
		return -1
	}
	return session
}
