package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// file describes one file of the log. Its name is its first position and its
// tag, both in hexadecimal: the tag stands outside of the content so that no
// damage of the content can hide the entries.
type file struct {
	path  string
	tag   tag
	first Position
	size  int64     // bytes that are stored; what lies behind is not acknowledged
	since time.Time // when its first record was stored
	end   Position  // of a file that retention has rewritten, one behind what it stands for; otherwise 0
	names NamesID
	lived time.Duration // how long the spool had run when it was begun
	sum   *summary      // nil: not known yet; the index's lock guards it, and size
}

const (
	fileSuffix = ".log"
	newSuffix  = ".new" // of a file that is not there yet
)

// newFile makes a file that begins at a position, and where end is not 0 stands for all
// files up to there.
func newFile(dir string, first, end Position, since time.Time) *file {
	f := &file{first: first, since: since, end: end}
	rand.Read(f.tag[:])
	name := fmt.Sprintf("%016x-%x", uint64(first), f.tag)
	if end > 0 {
		name += fmt.Sprintf("-%016x", uint64(end))
	}
	f.path = filepath.Join(dir, name+fileSuffix)
	return f
}

// parseFile reads a file's name; ok is false when it is not one of ours.
func parseFile(dir, name string) (f *file, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, fileSuffix), "-")
	if !strings.HasSuffix(name, fileSuffix) || len(parts) < 2 || len(parts) > 3 {
		return nil, false
	}
	f = &file{path: filepath.Join(dir, name)}
	var numbers [3]uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 16, 64)
		if err != nil || len(part) != 16 {
			return nil, false
		}
		numbers[i] = n
	}
	f.first, f.end = Position(numbers[0]), Position(numbers[2])
	if f.first == 0 || len(parts) == 3 && f.end <= f.first {
		return nil, false
	}
	binary.BigEndian.PutUint64(f.tag[:], numbers[1])
	return f, true
}

// scan reads the first size bytes: what the caller knows to be stored.
func (f *file) scan(size int64) *scanner {
	return &scanner{path: f.path, tag: f.tag, size: size, limit: size, chunk: chunkSize}
}

// head reads the first entry: the marks before the file, and when its first
// record was stored.
func (f *file) head(size int64) (m marks, since time.Time, ok bool) {
	sc := f.scan(size)
	sc.chunk = pageSize
	e, ok := sc.next()
	if !ok || e.kind != kindMarks || sc.skipped > 0 {
		return nil, time.Time{}, false
	}
	m, err := decodeMarks(e.data)
	return m, time.Unix(0, e.stored), err == nil
}

// about reads what stands behind the marks; ok is false where that is damaged, or of a
// version that did not write it.
func (f *file) about(size int64) (a about, ok bool) {
	sc := f.scan(size)
	sc.chunk = pageSize
	for range 2 {
		e, found := sc.next()
		if !found || sc.skipped > 0 && e.kind != kindAbout {
			return a, false
		}
		if e.kind == kindAbout {
			return decodeAbout(e.data)
		}
	}
	return a, false
}

// listFiles gives the files of a directory by their first position, and those that a
// rewritten one stands for, which a crash may have left. Of two files with one first
// position the larger counts; that needs a foreign hand.
func listFiles(dir string) (files, replaced []*file, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("spool: list %s: %w", dir, err)
	}
	var list []*file
	for _, n := range names {
		f, ok := parseFile(dir, n.Name())
		if !ok {
			continue
		}
		info, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("spool: list %s: %w", dir, err)
		}
		f.size, f.since = info.Size(), info.ModTime()
		list = append(list, f)
	}
	list, replaced = settle(list)
	sort.Slice(list, func(i, j int) bool {
		if list[i].first != list[j].first {
			return list[i].first < list[j].first
		}
		return list[i].size > list[j].size
	})
	for _, f := range list {
		if len(files) == 0 || files[len(files)-1].first != f.first {
			files = append(files, f)
		}
	}
	return files, replaced, nil
}

// settle takes the files out of a list for which a rewritten one stands. One whose head is
// damaged stands for nothing while those are there.
func settle(list []*file) (stay, replaced []*file) {
	gone := map[*file]bool{}
	for _, n := range list {
		if _, whole := n.about(n.size); n.end == 0 || gone[n] || !whole {
			continue
		}
		for _, f := range list {
			within := f.first >= n.first && f.first < n.end && f.end <= n.end
			if f == n || !within || f.end == n.end && f.first == n.first && f.size < n.size {
				continue
			}
			gone[f] = true
		}
	}
	for _, f := range list {
		if gone[f] {
			replaced = append(replaced, f)
		} else {
			stay = append(stay, f)
		}
	}
	return stay, replaced
}

// fileList are files of a log by their first positions.
type fileList []*file

// first gives the position of the oldest record, or the end of the log where there is none.
func (l fileList) first(end Position) Position {
	if len(l) == 0 {
		return end
	}
	return l[0].first
}

// last gives the last file, nil where there is none.
func (l fileList) last() *file {
	if len(l) == 0 {
		return nil
	}
	return l[len(l)-1]
}

// after gives the index of the first file that begins behind p.
func (l fileList) after(p Position) int {
	return sort.Search(len(l), func(i int) bool { return l[i].first > p })
}

// of gives the file in which a position lies, nil when there is none.
func (l fileList) of(p Position) *file {
	if i := l.after(p); i > 0 {
		return l[i-1]
	}
	return nil
}

// follower gives the file behind another, nil where there is none.
func (l fileList) follower(f *file) *file {
	if i := l.after(f.first); i < len(l) {
		return l[i]
	}
	return nil
}

// total is the size of all.
func (l fileList) total() (n int64) {
	for _, f := range l {
		n += f.size
	}
	return n
}

// dataSync makes the file's content durable, and of its metadata only what is
// needed to read it back.
func dataSync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

// lockDir takes the directory for this process until the file is closed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("spool: lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%w: %s is held by process %s; stop it, or give this gateway a data directory of its own", ErrLocked, dir, holder(f))
	}
	// The number is for the message above only: the kernel's lock decides.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return f, nil
}

func holder(f *os.File) string {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	if n == 0 {
		return "unknown"
	}
	return string(b[:n])
}
