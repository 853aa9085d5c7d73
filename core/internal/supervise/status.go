package supervise

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// Status is what a driver's keeper knows. Counters run since the gateway started.
type Status struct {
	Kind     string
	Version  string
	State    State
	Since    time.Time
	Cause    string    // why it is in this state, where there is a reason
	Retry    time.Time // with BackingOff: when the next start is due
	Stderr   []string  // the last lines of the last process that died
	PID      int       // 0: no process
	Started  time.Time // when the process was launched
	Restarts uint64
	Frames   uint64
	Bytes    uint64
	Gaps     uint64
	Engine   *engine.Status // nil: no process, or it did not answer
	Down     *driver.Error  // why its links are down; nil while it is active, or starts for the first time
	Lost     time.Time      // since when they are, with Down
}

func (k *keeper) status(ctx context.Context) Status {
	k.mu.Lock()
	s := Status{
		Kind: k.kind, State: k.state, Since: k.since, Cause: k.cause, Retry: k.retry, Stderr: k.stderr,
		Restarts: max(k.starts, 1) - 1, Frames: k.frames.Load(), Bytes: k.bytes.Load(), Gaps: k.losses.Load(),
	}
	if k.refused != "" {
		s.Cause = k.refused
	}
	proc := k.proc
	if proc != nil {
		s.PID, s.Started, s.Version = proc.PID(), k.started, proc.Description().Version
	}
	if k.state != Active && (k.state != Starting || k.cause != "") {
		s.Down, s.Lost = k.down(), k.lost
	}
	k.mu.Unlock()
	if proc != nil && s.State == Active {
		s.Engine, _ = proc.Status(ctx) // a process that hangs is found by its heartbeats
	}
	return s
}
