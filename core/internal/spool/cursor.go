package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cursors are kept in one small file of lines, each with a checksum of its own,
// so that damage costs one cursor at most:
//
//	5f1d2a3b 1204 "uplink"

const (
	maxCursors    = 1024
	maxCursorName = 255
)

// SaveCursor keeps, durably, that a reader of this name goes on at p. It costs two
// syncs, so a reader saves now and then and not at each record.
func (s *Spool) SaveCursor(name string, p Position) error {
	if name == "" || len(name) > maxCursorName {
		return fmt.Errorf("spool: save cursor %.40q: a name has 1 to %d bytes", name, maxCursorName)
	}
	s.cursorWrite.Lock()
	defer s.cursorWrite.Unlock()
	s.mu.Lock()
	next, end, closed := maps.Clone(s.cursors), s.last, s.closed
	s.mu.Unlock()
	next[name] = p
	switch {
	case closed:
		return fmt.Errorf("spool: save cursor %q: %w", name, ErrClosed)
	case p > end:
		return fmt.Errorf("spool: save cursor %q: position %d lies behind the end %d", name, p, end)
	case len(next) > maxCursors:
		return fmt.Errorf("spool: save cursor %q: there are %d already; delete one", name, maxCursors)
	}
	return s.storeCursors(next)
}

// Cursor gives the position kept under a name.
func (s *Spool) Cursor(name string) (p Position, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok = s.cursors[name]
	return p, ok
}

// DeleteCursor forgets a cursor; one that does not exist is no error.
func (s *Spool) DeleteCursor(name string) error {
	s.cursorWrite.Lock()
	defer s.cursorWrite.Unlock()
	s.mu.Lock()
	next, closed := maps.Clone(s.cursors), s.closed
	s.mu.Unlock()
	if closed {
		return fmt.Errorf("spool: delete cursor %q: %w", name, ErrClosed)
	}
	if _, ok := next[name]; !ok {
		return nil
	}
	delete(next, name)
	return s.storeCursors(next)
}

func (s *Spool) furthestCursor() (p Position) {
	for _, c := range s.cursors {
		p = max(p, c)
	}
	return p
}

// storeCursors replaces the file and then what is in memory; cursorWrite is held.
func (s *Spool) storeCursors(next map[string]Position) error {
	path := filepath.Join(s.dir, "cursors")
	if err := replace(path, encodeCursors(next)); err != nil {
		return fmt.Errorf("spool: save cursors: %w", err)
	}
	s.mu.Lock()
	s.cursors = next
	s.mu.Unlock()
	return nil
}

func (s *Spool) loadCursors() error {
	path := filepath.Join(s.dir, "cursors")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: read %s: %w", path, err)
	}
	var damaged int
	s.cursors, damaged = decodeCursors(b)
	if damaged > 0 {
		s.log.Error("spool lost cursors; their readers begin anew", "file", path, "lines", damaged)
	}
	return nil
}

func encodeCursors(cursors map[string]Position) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(cursors)) {
		line := fmt.Sprintf("%d %q", cursors[name], name)
		fmt.Fprintf(&b, "%08x %s\n", crc32.Checksum([]byte(line), castagnoli), line)
	}
	return b.Bytes()
}

func decodeCursors(b []byte) (cursors map[string]Position, damaged int) {
	cursors = map[string]Position{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		sum, line, _ := strings.Cut(lines.Text(), " ")
		var p Position
		var name string
		n, err := fmt.Sscanf(line, "%d %q", &p, &name)
		if err != nil || n != 2 || sum != fmt.Sprintf("%08x", crc32.Checksum([]byte(line), castagnoli)) {
			damaged++
			continue
		}
		cursors[name] = p
	}
	if lines.Err() != nil {
		damaged++
	}
	return cursors, damaged
}

// replace puts content in the place of a file, durably and at once.
func replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // a rest of it would only take room
		return err
	}
	return syncDir(filepath.Dir(path))
}
