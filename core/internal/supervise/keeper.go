package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// State is what a driver's keeper is in.
type State uint8

// The states.
const (
	Starting   State = iota // a process is being launched, or has no state applied yet
	Active                  // the state is applied and telemetry flows
	BackingOff              // the process died or would not start; another follows
	Stopping                // draining
	Stopped
)

func (s State) String() string {
	return [...]string{"starting", "active", "backing-off", "stopping", "stopped"}[s]
}

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
	healthy      = time.Minute     // of life, after which the backoff begins anew
	stopLimit    = 5 * time.Second // for a process to exit when asked, before plugin's watchdog has certainly killed it
)

// keeper keeps the process of one driver kind. Its run goroutine owns the process.
type keeper struct {
	kind string
	o    Options
	gaps *gapLog
	log  *slog.Logger
	stop context.CancelFunc // ends run, after draining
	ctx  context.Context    // done once stop was called; owned by run
	wake chan struct{}      // there is a new desired state
	done chan struct{}      // run has returned
	tally

	mu      sync.Mutex
	state   State
	since   time.Time
	cause   string
	retry   time.Time     // with BackingOff: when the next start is due
	lost    time.Time     // since when there is no telemetry, after a failure; zero: there is, or never was
	stderr  []string      // of the last process that died
	changed chan struct{} // closed and replaced at every transition
	proc    Process       // nil: none
	started time.Time     // when proc was launched
	starts  uint64
	desired *engine.State
	refused string // why the process refused the desired state
	loss    *loss  // what the next frame's gap record has to tell
}

func newKeeper(kind string, o Options, gaps *gapLog) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{
		kind: kind, o: o, gaps: gaps, log: o.Log.With("driver", kind),
		ctx: ctx, stop: stop, wake: make(chan struct{}, 1), done: make(chan struct{}),
		since: time.Now(), changed: make(chan struct{}),
	}
	if o.Spool != nil && !o.LastRun.IsZero() {
		if epoch, _ := o.Spool.Mark(kind); epoch != 0 {
			k.loss = &loss{from: o.LastRun, cause: "the gateway was not running"}
		}
	}
	return k
}

// run launches processes one after another until stop.
func (k *keeper) run(predecessor *keeper) {
	defer close(k.done)
	if predecessor != nil {
		<-predecessor.done // it may hold what only one process can have
	}
	pause := &backoff.ExponentialBackOff{InitialInterval: firstBackoff, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: lastBackoff}
	pause.Reset()
	for k.ctx.Err() == nil {
		select {
		case <-k.wake: // the life that begins sees what is desired
		default:
		}
		began := time.Now()
		err := k.life()
		if k.ctx.Err() != nil {
			break
		}
		if time.Since(began) >= healthy {
			pause.Reset()
		}
		k.rest(err, pause.NextBackOff())
	}
	k.enter(Stopped, "", time.Time{})
}

// life launches one process and serves it to its end, and returns the cause of the
// end.
func (k *keeper) life() error {
	k.enter(Starting, "", time.Time{})
	proc, err := k.o.Launch(k.ctx, k.kind)
	if err != nil {
		return err // which names the driver
	}
	k.adopt(proc)
	s := newSession(k, proc)
	err = s.serve(k.ctx)
	if isDone(proc.Done()) {
		err = fmt.Errorf("driver %s (pid %d): %s", k.kind, proc.PID(), proc.Exit())
	}
	k.adopt(nil)
	planned := k.ctx.Err() != nil
	if !planned {
		k.enter(BackingOff, err.Error(), time.Time{})
	}
	s.detach()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.ctx), stopLimit)
	defer cancel()
	if stopErr := proc.Stop(ctx); stopErr != nil {
		k.log.Warn("stop a driver process", "pid", proc.PID(), "err", stopErr)
	}
	if planned {
		return nil
	}
	k.mourn(s, err, proc.Exit().Stderr)
	return err
}

// adopt makes proc the one that commands go to.
func (k *keeper) adopt(proc Process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proc = proc
	if proc == nil {
		return
	}
	k.started = time.Now()
	k.starts++
	k.signal()
}

// mourn keeps what is known of a process that died.
func (k *keeper) mourn(s *session, cause error, stderr []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stderr = stderr
	if !s.attached {
		return // it was never given anything to sample
	}
	if k.loss == nil {
		k.loss = &loss{from: s.lastFrame()}
	}
	k.loss.cause = cause.Error()
}

// rest waits before the next start. A new desired state ends the wait: it may be
// the remedy.
func (k *keeper) rest(cause error, pause time.Duration) {
	k.enter(BackingOff, cause.Error(), time.Now().Add(pause))
	k.log.Error("driver is down", "err", cause, "retry", pause.Round(time.Millisecond))
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.wake:
	case <-k.ctx.Done():
	}
}

// enter moves to a state. A driver that starts again, and is active again, keeps the
// cause of its restart.
func (k *keeper) enter(state State, cause string, retry time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state == k.state {
		k.retry = retry
		return
	}
	if state != Starting && state != Active {
		k.cause = cause
	}
	k.state, k.since, k.retry = state, time.Now(), retry
	switch {
	case state == BackingOff && k.lost.IsZero():
		k.lost = k.since
	case state != BackingOff && state != Starting:
		k.lost = time.Time{}
	}
	k.log.Debug("driver is "+state.String(), "restarts", max(k.starts, 1)-1)
	k.signal()
}

// signal wakes whoever awaits a change. The caller holds mu.
func (k *keeper) signal() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// want sets the desired state.
func (k *keeper) want(state *engine.State) {
	k.mu.Lock()
	same := k.desired == state
	k.desired = state
	k.mu.Unlock()
	if same {
		return
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// await returns the process, or the reason why the last start failed.
func (k *keeper) await(ctx context.Context) (Process, error) {
	for {
		k.mu.Lock()
		proc, state, cause, changed := k.proc, k.state, k.cause, k.changed
		k.mu.Unlock()
		switch {
		case proc != nil:
			return proc, nil
		case state != Starting:
			return nil, driver.Errorf(driver.NotConnected, "driver %s is %s: %s", k.kind, state, cause)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("start driver %s: %w", k.kind, ctx.Err())
		}
	}
}

// control is await without the waiting, for commands to a driver that is active.
func (k *keeper) control() (engine.Control, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc != nil && k.state == Active {
		return k.proc, nil
	}
	return nil, k.down()
}

// down says why the driver is not active. The caller holds mu.
func (k *keeper) down() *driver.Error {
	text := fmt.Sprintf("driver %s is %s", k.kind, k.state)
	if k.cause != "" {
		text += ": " + k.cause
	}
	return &driver.Error{Code: driver.NotConnected, Text: text}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
