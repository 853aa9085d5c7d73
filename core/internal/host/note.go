package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// isNote reports whether a path may be one that noteOf made.
func isNote(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, socketDirPrefix) && strings.HasSuffix(name, wire.NoteSuffix)
}

// writeNote writes down that there is a process: its number, and when it started. It is a
// Record without an identity, for the process has not said anything yet. It is not synced:
// it outlives the core, and need not outlive the machine, whose processes do not either.
func writeNote(path, driver string, pid int, dir string) error {
	r := wire.Record{Driver: driver, Dir: dir, Note: path}
	err := r.Observe(pid)
	var data []byte
	if err == nil {
		data, err = json.Marshal(r)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = writeNew(path, data)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("note the start of process %d: %w", pid, err), removeNote(path))
	}
	return nil
}

func writeNew(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

func removeNote(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// errUnwritten says that a core was killed between the making of a note and the one write
// that fills it.
var errUnwritten = errors.New("it is empty")

// readNotes returns the notes in a directory. One that is not whole is removed: its
// process was not let run. That it is empty is no error: a core may be killed at any time.
func readNotes(dir string) (notes []wire.Record, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !isNote(path) || !entry.Type().IsRegular() {
			continue
		}
		note, noteErr := readNote(path)
		if errors.Is(noteErr, errUnwritten) {
			err = errors.Join(err, removeNote(path))
			continue
		}
		if noteErr != nil {
			err = errors.Join(err, fmt.Errorf("note %s: %w", path, noteErr), removeNote(path))
			continue
		}
		notes = append(notes, note)
	}
	return notes, err
}

func readNote(path string) (r wire.Record, err error) {
	data, err := readOwn(path)
	if err == nil && len(data) == 0 {
		err = errUnwritten
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && (r.PID <= 1 || r.Start == 0 || r.Boot == "" || !filepath.IsAbs(r.Dir)) {
		err = errors.New("it does not name a process")
	}
	r.Note = path
	return r, err
}
