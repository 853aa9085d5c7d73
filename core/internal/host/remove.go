package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// removeDir removes the directory of a process and all that is in it. What is in it is
// the driver's making, perhaps a million directories each in the one before: os.RemoveAll
// holds a descriptor and a piece of stack for each of those that it is in, and with them
// the core's last. This one has two, because it lifts what is deeper up.
func removeDir(path string) error {
	unmount(path)
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	r := remover{dir: dir}
	for left := true; left; {
		if left, err = r.names(dir, r.remove); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// remover empties a directory.
type remover struct {
	dir    *os.File
	lifted int // names given
}

// names calls each for the next names of a directory, and reports whether there were any.
func (r *remover) names(of *os.File, each func(from *os.File, name string) error) (some bool, err error) {
	const most = 1000
	if _, err := of.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	list, err := of.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	for _, name := range list {
		if err := each(of, name); err != nil {
			return true, err
		}
	}
	return len(list) > 0, nil
}

func (r *remover) remove(from *os.File, name string) error {
	err := unix.Unlinkat(int(from.Fd()), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if empty := unix.Unlinkat(int(from.Fd()), name, unix.AT_REMOVEDIR); empty == nil || !errors.Is(empty, unix.ENOTEMPTY) {
		return errors.Join(empty)
	}
	return r.flatten(name)
}

// flatten removes a directory with what is in it, and keeps its directories beside it.
func (r *remover) flatten(name string) error {
	at := int(r.dir.Fd())
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	sub := os.NewFile(uintptr(fd), name)
	defer sub.Close()
	for left := true; left; {
		if left, err = r.names(sub, r.lift); err != nil {
			return err
		}
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}

func (r *remover) lift(from *os.File, name string) error {
	if err := unix.Unlinkat(int(from.Fd()), name, 0); err == nil {
		return nil
	}
	for {
		r.lifted++
		err := unix.Renameat(int(from.Fd()), name, int(r.dir.Fd()), ".lifted-"+strconv.Itoa(r.lifted))
		switch {
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR): // it has given that name itself
		default:
			return err
		}
	}
}

// removeHandDir removes the directory that a driver which was started by hand has made
// for itself. The driver wrote the record: it may name any directory.
func removeHandDir(r wire.Record) error {
	if !strings.HasPrefix(filepath.Base(r.Dir), wire.HandDirPrefix) {
		return nil
	}
	return removeDir(r.Dir)
}
