package confine

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// mapped is what a Go program maps writable before main and hardly touches: 105 MB.
// RLIMIT_DATA counts it, an operator who says how much memory a driver may use does not.
const mapped = 128 << 20

// limits are what a process may use of the machine. They are set twice: by the shim on
// itself, and where there is one on its control group.
type limits struct {
	Memory, FileSize        int64
	Files, Tasks, UserTasks int
	ownUser                 bool // it has a user of its own, whose tasks the kernel counts
}

func (m *limits) data() int64 {
	if m.Memory == Unlimited {
		return Unlimited
	}
	return m.Memory + mapped
}

// apply sets the resource limits, soft and hard alike: without privileges
// a hard limit cannot be raised.
//
// Memory is limited by RLIMIT_DATA, which counts private writable memory. A Go program
// reserves 1.5 GB of addresses at its start, so RLIMIT_AS would say nothing about it.
// Shared memory is not counted, and is refused by the filter where it is no file's.
func (m *limits) apply(report *Report) error {
	limits := []struct {
		what     string
		resource int
		most     int64
	}{
		{"core dumps", unix.RLIMIT_CORE, 0},
		{"memory", unix.RLIMIT_DATA, m.data()},
		{"file size", unix.RLIMIT_FSIZE, m.FileSize},
		{"open files", unix.RLIMIT_NOFILE, int64(m.Files)},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0},
		{"tasks", unix.RLIMIT_NPROC, int64(m.UserTasks)},
	}
	for _, l := range limits {
		// The kernel counts a user's tasks, not a process's: of a user shared with the
		// gateway and others, the limit would be one on them all.
		if l.resource == unix.RLIMIT_NPROC && !m.ownUser || l.most == Unlimited {
			continue
		}
		if err := setLimit(l.resource, uint64(l.most)); err != nil {
			return fmt.Errorf("confine: limit %s to %d: %w", l.what, l.most, err)
		}
	}
	text := fmt.Sprintf("rlimits: %d files", m.Files)
	if m.Memory != Unlimited {
		text += fmt.Sprintf(", %d MiB", m.Memory>>20)
	}
	report.has(text)
	return nil
}

// limitGroup sets the limits of a control group, which count the process with its children.
func (m *limits) limitGroup(dir string) error {
	if m.Memory != Unlimited {
		if err := writeControl(dir, "memory.max", strconv.FormatInt(m.Memory, 10)); err != nil {
			return err
		}
		// Without swap, or without a limit on it, there is nothing to write.
		if err := writeControl(dir, "memory.swap.max", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return writeControl(dir, "pids.max", strconv.Itoa(m.Tasks))
}

// setLimit lowers a limit to most; one that is lower already stays.
func setLimit(resource int, most uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, most)
	limit.Cur = limit.Max
	return unix.Setrlimit(resource, &limit)
}
