package spool

import (
	"crypto/rand"
	"encoding/hex"
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
}

const fileSuffix = ".log"

func newFile(dir string, first Position, since time.Time) *file {
	f := &file{first: first, since: since}
	rand.Read(f.tag[:])
	f.path = filepath.Join(dir, fmt.Sprintf("%016x-%x%s", uint64(first), f.tag, fileSuffix))
	return f
}

// parseFile reads a file's name; ok is false when it is not one of ours.
func parseFile(dir, name string) (f *file, ok bool) {
	first, t, found := strings.Cut(strings.TrimSuffix(name, fileSuffix), "-")
	if !found || len(name) != 16+1+16+len(fileSuffix) || !strings.HasSuffix(name, fileSuffix) {
		return nil, false
	}
	p, err := strconv.ParseUint(first, 16, 64)
	if err != nil || p == 0 {
		return nil, false
	}
	f = &file{path: filepath.Join(dir, name), first: Position(p)}
	if _, err := hex.Decode(f.tag[:], []byte(t)); err != nil {
		return nil, false
	}
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

// listFiles gives the files of a directory by their first position. Of two files
// with one first position the larger counts; that needs a foreign hand.
func listFiles(dir string) ([]*file, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: list %s: %w", dir, err)
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
			return nil, fmt.Errorf("spool: list %s: %w", dir, err)
		}
		f.size, f.since = info.Size(), info.ModTime()
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].first != list[j].first {
			return list[i].first < list[j].first
		}
		return list[i].size > list[j].size
	})
	var out []*file
	for _, f := range list {
		if len(out) == 0 || out[len(out)-1].first != f.first {
			out = append(out, f)
		}
	}
	return out, nil
}

// after gives the index of the first file that begins behind p.
func after(files []*file, p Position) int {
	return sort.Search(len(files), func(i int) bool { return files[i].first > p })
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
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
