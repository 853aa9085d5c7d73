package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// Leftovers is what an earlier core may have left: processes, and their directories.
type Leftovers struct {
	RunDir string        // as in Command
	Notes  string        // as in Command; default RunDir
	Owner  string        // as in Command
	Keep   []wire.Record // of the processes that are to be taken over
	Log    *slog.Logger  // hears of every process that is ended; nil: nobody does
}

// sweepLimit is how long the kernel may take over all that is killed.
const sweepLimit = 5 * time.Second

// Sweep ends the processes that an earlier core has started and that are not in Keep, and
// removes the directories that are left. Such a process is in the note that was written
// before it was let run; where its note is gone, it is known by the mark in its
// environment. A core calls it at its start, before it starts processes of its own, and
// while no other core of the same Owner runs. After an error there may be more to sweep.
func (l Leftovers) Sweep(ctx context.Context) error {
	if l.Notes == "" {
		l.Notes = l.RunDir
	}
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	return errors.Join(l.endNoted(ctx), l.endMarked(ctx), l.removeDirs())
}

// keeps reports whether a process is one of those to be taken over.
func (l Leftovers) keeps(pid int, start uint64) bool {
	for _, r := range l.Keep {
		if r.PID == pid && r.Start == start {
			return true
		}
	}
	return false
}

// endNoted ends the processes of notes.
func (l Leftovers) endNoted(ctx context.Context) error {
	notes, err := readNotes(l.Notes)
	for _, note := range notes {
		if !l.keeps(note.PID, note.Start) {
			err = errors.Join(err, l.end(ctx, note))
		}
	}
	return err
}

func (l Leftovers) end(ctx context.Context, r wire.Record) error {
	err := Kill(ctx, r)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err == nil {
		l.Log.Warn("a driver process from before the gateway was restarted is ended: the gateway was killed before it could keep what is needed to take it over",
			"driver", r.Driver, "pid", r.PID)
	}
	return err
}

// endMarked ends the processes that have the owner's mark.
func (l Leftovers) endMarked(ctx context.Context) error {
	if l.Owner == "" {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("look for driver processes: %w", err)
	}
	boot, err := wire.BootID()
	for _, entry := range entries {
		pid, notOne := strconv.Atoi(entry.Name())
		if notOne != nil || pid == os.Getpid() || !l.marked(pid) {
			continue
		}
		seen, gone := wire.StatOf(pid)
		if gone != nil || l.keeps(pid, seen.Start) || l.keepsSession(seen.Session) || !l.marked(pid) {
			continue
		}
		err = errors.Join(err, l.end(ctx, wire.Record{Driver: "of unknown name", PID: pid, Start: seen.Start, Boot: boot}))
	}
	return err
}

// keepsSession reports whether a session is that of a process that is to be taken over,
// one of whose children then has the mark too.
func (l Leftovers) keepsSession(session int) bool {
	seen, err := wire.StatOf(session)
	return err == nil && l.keeps(session, seen.Start)
}

// marked reports whether the process has the mark in the environment that it started with.
func (l Leftovers) marked(pid int) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // it has ended, or is another user's
	}
	mark := []byte(wire.EnvOwner + "=" + l.Owner)
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(entry, mark) {
			return true
		}
	}
	return false
}

// removeDirs removes the directories that processes have left: a core that was killed
// removes none, and a confined process cannot remove its own. Those of Keep stay, and those
// in which a process has a socket.
func (l Leftovers) removeDirs() error {
	runDir, err := filepath.Abs(l.RunDir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	used, err := socketDirs()
	if err != nil {
		return err
	}
	for _, r := range l.Keep {
		used[filepath.Clean(r.Dir)] = true
	}
	for _, entry := range entries {
		dir := filepath.Join(runDir, entry.Name())
		if entry.IsDir() && strings.HasPrefix(entry.Name(), socketDirPrefix) && !used[dir] {
			err = errors.Join(err, removeDir(dir))
		}
	}
	return err
}

// socketDirs are the directories of all Unix sockets of the machine that somebody has
// open, as far as their paths tell; see proc(5).
func socketDirs() (map[string]bool, error) {
	list, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		if at := strings.IndexByte(line, '/'); at >= 0 { // only a path has one
			dirs[filepath.Dir(strings.TrimRight(line[at:], "\n"))] = true
		}
	}
	return dirs, nil
}
