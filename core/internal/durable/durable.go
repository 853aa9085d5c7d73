// Package durable writes private files, of mode 0600, so that after a power cut they are there
// wholly or not at all. Whoever starts before the power goes again removes what has
// DraftSuffix.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// DraftSuffix ends the name of a file that Replace has not put in its place yet.
const DraftSuffix = ".new"

// Replace puts content in the place of the file at path, at once: a reader gets the old content
// or the new one. Once it returns without an error, the new one stays.
func Replace(path string, content []byte) error {
	draft := path + DraftSuffix
	err := write(draft, content, os.O_TRUNC)
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = os.Remove(draft) // it would only take room
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Create writes a file that must not be there yet. Its name is durable only once SyncDir was
// called for its directory.
func Create(path string, content []byte) error { return write(path, content, os.O_EXCL) }

func write(path string, content []byte, flag int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes durable which names a directory has.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
