package caller

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// reapPause is the least time between two searches for processes that nobody waits for.
const reapPause = time.Second

// Adopt makes this process the parent of what its drivers leave behind, until ctx is done:
// a process whose parent ends becomes a child of the gateway and not of the machine's first
// process, so that Judge sees from where it comes. It takes note of the end of such
// children. It is for a process that starts no other children than by Drivers.Start.
func (d *Drivers) Adopt(ctx context.Context) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of what drivers leave behind: %w", err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		select {
		case <-ended:
		case <-ctx.Done():
			return nil
		}
		pause := time.NewTimer(reapPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
		d.reap()
	}
}

// reap takes note of the end of children that no driver process is: somebody waits for those.
func (d *Drivers) reap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := os.Getpid()
	for _, pid := range processes() {
		s, err := look(pid)
		if err != nil || s.parent != own || !s.dead {
			continue
		}
		if known, ok := d.known[pid]; ok && known.start == s.start {
			continue
		}
		_ = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
	}
}

// Try marks this process as one that starts drivers and is no gateway, for the gateways of this
// machine, until over is called: what it starts stays below it, and none of it may call their
// API.
func Try() (over func(), err error) {
	before, err := os.ReadFile(ownName)
	if err == nil {
		err = os.WriteFile(ownName, []byte(Trying), 0)
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("mark this process as one that tries drivers: %w", err)
	}
	return func() { _ = os.WriteFile(ownName, bytes.TrimRight(before, "\n"), 0) }, nil
}

const ownName = "/proc/self/comm"
