package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDirBytes and maxDirFiles are what a process may keep in its directory, beside its
	// spill: two files of lines, each of which may reach 64 MiB, and its socket. The directory
	// is on the disk of the spool.
	maxDirBytes = 160 << 20
	maxDirFiles = 512
	// roomToTell is by how much a file system of its own is larger, so that it is seen that the
	// bound is passed.
	roomToTell = 64 << 20
	// measureEvery is how often that is measured, and measureSoon after a look that found
	// more than the eighth part.
	measureEvery = time.Second
	measureSoon  = 50 * time.Millisecond
	// sunken is by how much the room on the disk must fall for open files without a name to be
	// looked for.
	sunken = 16 << 20
)

// use is what a process has on the disk.
type use struct {
	bytes int64
	files int
}

// A DirGuard kills processes whose directories outgrow their bounds.
type DirGuard struct {
	Launcher *Launcher
	Kill     func(driverName string, pid int, why error)
	Log      *slog.Logger
}

// Run measures the directories until ctx is done.
func (g *DirGuard) Run(ctx context.Context) {
	next := time.NewTimer(measureEvery)
	defer next.Stop()
	var top int64 // the most room that there was since the open files were looked at
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		free := freeOn(g.Launcher.runDir)
		sank := top-free > sunken
		if top = max(top, free); sank {
			top = free
		}
		pause := measureEvery
		for _, p := range g.Launcher.fleet.all() {
			if g.check(p, sank) {
				pause = measureSoon
			}
		}
		next.Reset(pause)
	}
}

// check measures the directory of one process, and reports whether it is to be looked at
// again soon.
func (g *DirGuard) check(p *process, nameless bool) (soon bool) {
	dir := p.Dir()
	if dir == "" {
		return false
	}
	most := use{bytes: maxDirBytes + max(p.Spill, g.Launcher.configs()[0].Process(p.driver).Spill), files: maxDirFiles}
	has := measure(dir, most.files)
	if nameless || has.bytes > most.bytes/8 || device(dir) != device(g.Launcher.runDir) { // on a file system of its own nothing sinks
		open := namelessFiles(p.PID(), dir)
		has.bytes, has.files = has.bytes+open.bytes, has.files+open.files
	}
	if has.bytes <= most.bytes && has.files <= most.files {
		return has.bytes > most.bytes/8
	}
	err := fmt.Errorf("its directory %s holds %d MiB in %d files, and may hold %d MiB in %d, because it is on the disk of the stored samples: it is killed",
		dir, has.bytes>>20, has.files, most.bytes>>20, most.files)
	g.Log.Error("driver fills the disk", "driver", p.driver, "pid", p.PID(), "err", err)
	g.Kill(p.driver, p.PID(), err)
	return true
}

// measure adds up a directory. It stops at one file more than most.
func measure(dir string, most int) (u use) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var s unix.Stat_t
		if errors.Is(err, fs.ErrNotExist) || path == dir {
			return nil // the process removed it just now
		}
		if u.files++; u.files > most {
			return io.EOF
		}
		if unix.Lstat(path, &s) == nil {
			u.bytes += s.Blocks * 512
		}
		return nil
	})
	return u
}

// namelessFiles adds up the open files of a process that have no name any more and lie where
// its directory does.
func namelessFiles(pid int, dir string) (u use) {
	on := device(dir)
	fds := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(fds)
	if err != nil {
		return u // it has ended, or it is another user's
	}
	seen := make(map[uint64]bool)
	for _, e := range entries {
		var s unix.Stat_t
		if unix.Stat(filepath.Join(fds, e.Name()), &s) != nil || s.Mode&syscall.S_IFMT != syscall.S_IFREG || s.Nlink > 0 || s.Dev != on || seen[s.Ino] {
			continue
		}
		seen[s.Ino] = true
		u.files++
		u.bytes += s.Blocks * 512
	}
	return u
}

// device is the number of the file system where a directory lies; 0: it is not known.
func device(dir string) uint64 {
	var s unix.Stat_t
	if unix.Stat(dir, &s) != nil {
		return 0
	}
	return s.Dev
}

// freeOn is how much room there is where a directory lies; 0: it is not known.
func freeOn(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}
