package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace moves the package in from to the name to, in the same file system, so that
// whoever looks sees the old package or the new one, whole, and so it is after a
// power cut. What was there is removed.
func Replace(from, to string) error {
	if err := syncTree(from); err != nil {
		return fmt.Errorf("replace %s: %w", to, err)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		err = os.RemoveAll(from) // it is the old one now
	case errors.Is(err, unix.ENOENT):
		err = os.Rename(from, to)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // this file system cannot exchange
		err = replaceInSteps(from, to)
	}
	if err == nil {
		err = syncDir(filepath.Dir(to))
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", to, err)
	}
	return nil
}

// replaceInSteps leaves a moment without a package.
func replaceInSteps(from, to string) error {
	old := filepath.Join(filepath.Dir(from), ".old-"+filepath.Base(to))
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return syncDir(path)
	})
}

// syncDir writes a file or directory to the disk.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
