package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// DirName is the directory in the data directory.
	DirName = "audit"

	maxFile  = 16 << 20
	maxFiles = 16 // the oldest is removed when there are more

	prefix, suffix = "audit-", ".jsonl"
)

// A Log is the audit log of one gateway. Its methods may be called concurrently.
type Log struct {
	dir     string
	maxFile int64

	mu     sync.Mutex
	f      *os.File
	size   int64
	n      uint64
	hash   string
	torn   bool
	missed uint64
}

// Open opens the audit log in dir, and makes it where there is none. It goes on behind the
// last line that is whole.
func Open(dir string) (*Log, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{dir: dir, maxFile: maxFile}
	names, err := files(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return l, nil
	}
	for _, name := range slices.Backward(names) { // a file may have been begun and nothing written
		last, torn, err := end(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		l.torn = l.torn || torn
		if last != nil {
			l.n, l.hash = last.N, last.Hash
			break
		}
	}
	newest := filepath.Join(dir, names[len(names)-1])
	if l.f, err = os.OpenFile(newest, os.O_WRONLY|os.O_APPEND|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	info, err := l.f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), l.f.Close())
	}
	l.size = info.Size()
	return l, nil
}

// files are the names of the files in dir, the oldest first.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := first(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, _ := first(a)
		y, _ := first(b)
		return int(int64(x - y))
	})
	return names, nil
}

// first is the number of the first line of a file, which is its name.
func first(name string) (uint64, bool) {
	digits, is := strings.CutPrefix(name, prefix)
	digits, ends := strings.CutSuffix(digits, suffix)
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, is && ends && err == nil
}

// Append writes an entry, and with sync waits until it is on the disk. It sets the number
// and the hashes. An entry that cannot be written is counted in the next one that can.
func (l *Log) Append(e *Entry, sync bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.append(e)
	if err == nil && sync {
		err = unix.Fdatasync(int(l.f.Fd()))
	}
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

func (l *Log) append(e *Entry) error {
	if err := l.room(); err != nil {
		l.missed++
		return err
	}
	e.N, e.Prev, e.Missed, e.Torn = l.n+1, l.hash, l.missed, l.torn
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	line, err := e.encode()
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if l.torn {
		line = append([]byte{'\n'}, line...) // what is torn is a line of its own
	}
	written, err := l.f.Write(line)
	l.size += int64(written)
	if err != nil {
		l.missed++
		l.torn = l.torn || written > 0
		return err
	}
	l.n, l.hash, l.missed, l.torn = e.N, e.Hash, 0, false
	return nil
}

// room begins another file where there is none, or the present one is full.
func (l *Log) room() error {
	if l.f != nil && l.size < l.maxFile {
		return nil
	}
	path := filepath.Join(l.dir, fmt.Sprintf("%s%012d%s", prefix, l.n+1, suffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if l.f != nil {
		_ = unix.Fdatasync(int(l.f.Fd()))
		_ = l.f.Close()
	}
	l.f, l.size, l.torn = f, 0, false
	l.retain()
	return nil
}

// retain removes the oldest files where there are too many.
func (l *Log) retain() {
	names, err := files(l.dir)
	if err != nil {
		return
	}
	for ; len(names) > maxFiles; names = names[1:] {
		_ = os.Remove(filepath.Join(l.dir, names[0])) // the next file tries again
	}
}

// Close writes to the disk what is not there yet.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(unix.Fdatasync(int(l.f.Fd())), l.f.Close())
	l.f = nil
	return err
}
