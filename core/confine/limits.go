package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapped is what a Go program maps writable before main and hardly touches: 105 MB.
// RLIMIT_DATA counts it, an operator who says how much memory a driver may use does not.
const mapped = 128 << 20

func (p *Policy) data() int64 {
	if p.Memory == Unlimited {
		return Unlimited
	}
	return p.Memory + mapped
}

// limitResources sets the resource limits, soft and hard alike: without privileges
// a hard limit cannot be raised.
//
// Memory is limited by RLIMIT_DATA, which counts private writable memory. A Go program
// reserves 1.5 GB of addresses at its start, so RLIMIT_AS would say nothing about it.
// Shared memory is not counted, and is refused by the filter where it is no file's.
func (p *Policy) limitResources(report *Report) error {
	limits := []struct {
		what     string
		resource int
		most     int64
	}{
		{"core dumps", unix.RLIMIT_CORE, 0},
		{"memory", unix.RLIMIT_DATA, p.data()},
		{"file size", unix.RLIMIT_FSIZE, p.FileSize},
		{"open files", unix.RLIMIT_NOFILE, int64(p.Files)},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0},
		{"tasks", unix.RLIMIT_NPROC, int64(p.UserTasks)},
	}
	for _, l := range limits {
		// The kernel counts a user's tasks, not a process's: of a user shared with the
		// gateway and others, the limit would be one on them all.
		if l.resource == unix.RLIMIT_NPROC && p.UID == 0 || l.most == Unlimited {
			continue
		}
		if err := setLimit(l.resource, uint64(l.most)); err != nil {
			return fmt.Errorf("confine: limit %s to %d: %w", l.what, l.most, err)
		}
	}
	text := fmt.Sprintf("rlimits: %d files", p.Files)
	if p.Memory != Unlimited {
		text += fmt.Sprintf(", %d MiB", p.Memory>>20)
	}
	report.has(text)
	return nil
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
