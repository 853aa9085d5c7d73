package caller

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// ErrDriver is in the tree of an error when a peer is a driver's process.
var ErrDriver = errors.New("it is a driver's process")

// Trying is the name of a process that starts drivers and is no gateway: what it has started
// is a driver too. A name has 15 bytes at most.
const Trying = "fieldloom:try"

const (
	// maxParents bounds the way from a process to the first one of the machine.
	maxParents = 4096
	// attempts bounds how often the way is gone again because a process on it ended.
	attempts = 20
	// pruneFrom is how many processes are known before those are dropped of which
	// nothing is left.
	pruneFrom = 64
)

// Drivers are the driver processes of one gateway. The zero Drivers knows none. Its
// methods may be called concurrently.
type Drivers struct {
	mu    sync.RWMutex // held for writing while a process is started
	known map[int]process
}

type process struct {
	start  uint64
	shares bool // its session and group are somebody's terminal's
}

// Start starts a command, which becomes a driver's process: nobody is judged between its
// first instruction and the moment when it is known.
func (d *Drivers) Start(cmd *exec.Cmd) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	s, err := look(cmd.Process.Pid) // there until it is waited for, be it dead
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("look at the process that was started: %w", err)
	}
	d.add(cmd.Process.Pid, process{start: s.start})
	return nil
}

// Add makes a process known that somebody else has started, at a time since the boot. One
// that was started by hand shares the session of a terminal.
func (d *Drivers) Add(pid int, start uint64, byHand bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(pid, process{start: start, shares: byHand})
}

func (d *Drivers) add(pid int, p process) {
	if d.known == nil {
		d.known = make(map[int]process)
	}
	if len(d.known) >= pruneFrom {
		d.prune()
	}
	d.known[pid] = p
}

// prune drops the processes of which nothing is left, not even a member of their session.
func (d *Drivers) prune() {
	used := make(map[int]bool)
	for _, pid := range processes() {
		used[pid] = true
		if s, err := look(pid); err == nil {
			used[s.session], used[s.group] = true, true
		}
	}
	for pid := range d.known {
		if !used[pid] {
			delete(d.known, pid)
		}
	}
}

// Judge returns nil where the peer is a person's process: one that lives, and is none of
// the drivers, in no session of theirs, and started neither by them nor by the gateway. An
// error with ErrDriver in its tree says that it is a driver's; any other, that
// it is not known whose it is.
func (d *Drivers) Judge(p *Peer) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for range attempts {
		stable, err := d.walk(p)
		switch {
		case p.Ended():
			return ErrGone
		case stable:
			return err
		}
	}
	return errors.New("its parents change faster than they can be looked at")
}

// walk goes from the peer to its parent and on, and looks at each. It is not stable when a
// process on the way ended meanwhile.
func (d *Drivers) walk(p *Peer) (stable bool, err error) {
	pid := p.pid
	at, err := look(pid)
	if err != nil || at.start != p.start {
		return true, ErrGone
	}
	if pid == os.Getpid() {
		return true, nil // the gateway asks itself, as the demo does
	}
	for range maxParents {
		if err := d.whose(pid, &at); err != nil {
			return true, err
		}
		if pid != p.pid && at.command == Trying {
			return true, fmt.Errorf("it belongs to a driver that process %d tries: %w", pid, ErrDriver)
		}
		if at.parent == 0 {
			return true, nil
		}
		above, hidden := look(at.parent)
		if again, err := look(pid); err != nil || again.parent != at.parent {
			return false, nil
		}
		if hidden != nil { // another user's, on a machine that shows nobody else's: no driver's
			return true, d.whose(at.parent, &status{})
		}
		pid, at = at.parent, above
	}
	return true, errors.New("it has too many parents")
}

// whose returns an error where a process is a driver's, or one that starts drivers.
func (d *Drivers) whose(pid int, s *status) error {
	if pid == os.Getpid() {
		return fmt.Errorf("the gateway started it: %w", ErrDriver)
	}
	if known, ok := d.known[pid]; ok && (s.start == 0 || s.start == known.start) {
		return fmt.Errorf("driver process %d: %w", pid, ErrDriver)
	}
	for _, leader := range []int{s.session, s.group} {
		if known, ok := d.known[leader]; ok && !known.shares && known.leads(leader) {
			return fmt.Errorf("it is in the session of driver process %d: %w", leader, ErrDriver)
		}
	}
	return nil
}

// leads reports whether the session or group of a number is still this process's. The
// number is given to no other process while one is in its session or group, so where
// nobody has it, it is.
func (p process) leads(number int) bool {
	s, err := look(number)
	return err != nil || s.start == p.start
}
