package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

const (
	orphanEvery = 500 * time.Millisecond
	// orphanLimit is how long a process without a core waits for the next, where it is not
	// detached or has no link; detachedLimit how long one that outlives its core; startLimit
	// how long any waits for the first.
	orphanLimit   = 3 * time.Second
	detachedLimit = 5 * time.Minute
	startLimit    = 20 * time.Second
)

// orphan decides when a process has no core any more.
type orphan struct {
	parent   int
	detached bool
	byHand   bool          // it waits for a core as long as it takes
	tried    string        // the file that whoever tries it has locked; empty: nobody does
	limit    time.Duration // without a core
	dir      string        // of its socket; empty: not known
	output   []*os.File    // of a detached process, bounded while no core empties it
}

// orphanFromEnv reads what the core that started this process has told it.
func orphanFromEnv(stderr *os.File) orphan {
	o := orphan{parent: os.Getppid(), limit: orphanLimit, dir: os.Getenv(wire.EnvSocketDir)}
	if os.Getenv(wire.EnvDetach) == "1" {
		o.detached, o.limit = true, detachedLimit
		o.output = []*os.File{os.Stdout, stderr}
	}
	if limit, err := time.ParseDuration(os.Getenv(wire.EnvOrphan)); err == nil && limit > 0 {
		o.limit = limit
	}
	return o
}

// watch ends the process on a signal and when its core is gone.
func (h *process) watch(ctx context.Context, term <-chan os.Signal) {
	tick := time.NewTicker(orphanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-term:
			h.stop()
		case <-tick.C:
			coreless := h.server.coreless()
			if why := h.orphan.why(coreless, h.server); why != "" {
				h.log.Warn("exit: " + why)
				h.stop()
			}
			if coreless > 0 {
				h.orphan.trim()
			}
		}
	}
}

// why says why there is no core any more, or nothing. A core is gone when the
// process that started this one is dead, which the kernel shows as a change of
// parent, or when none has had a stream open for a while. The kernel's signal of the
// parent's death, which the core asks for, comes sooner than the look at the former.
func (o *orphan) why(coreless time.Duration, s *server) string {
	switch {
	case o.tried != "" && !isLocked(o.tried):
		return "whoever tried this driver is dead"
	case o.byHand || coreless == 0:
		return ""
	case !o.detached && os.Getppid() != o.parent:
		return "the core that started this driver is dead"
	case o.detached && o.unreachable():
		return "no core is connected, and none can find the socket: " + o.dir + " was removed"
	}
	if limit := o.patience(s); coreless > limit {
		return fmt.Sprintf("no core has been connected for %v", coreless.Round(time.Second))
	}
	return ""
}

// patience is how long a process waits for a core in the state that it is in.
func (o *orphan) patience(s *server) time.Duration {
	switch {
	case !s.met():
		return max(startLimit, min(o.limit, orphanLimit))
	case !s.applied.Load():
		return min(o.limit, orphanLimit) // it keeps nothing that a core would miss
	}
	return o.limit
}

// unreachable tells that the socket's directory was removed.
func (o *orphan) unreachable() bool {
	if o.dir == "" {
		return false
	}
	_, err := os.Lstat(o.dir)
	return errors.Is(err, fs.ErrNotExist)
}

const (
	// trimAbove is the size of a file of lines that is shortened to its end, of trimTo
	// bytes, while no core empties it.
	trimAbove = 1 << 20
	trimTo    = 64 << 10
)

func (o *orphan) trim() {
	for _, file := range o.output {
		info, err := file.Stat()
		if err != nil || !info.Mode().IsRegular() || info.Size() <= trimAbove {
			continue
		}
		end := make([]byte, trimTo)
		n, _ := file.ReadAt(end, info.Size()-trimTo)
		if file.Truncate(0) == nil {
			// The file is opened to append, so lines of other threads come before or after.
			_, _ = file.Write(wire.WholeLines(end[:n]))
		}
	}
}
