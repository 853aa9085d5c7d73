package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxLine is more than any line has: two values, names, an error's text.
const maxLine = 1 << 20

// A Report is what Read has found.
type Report struct {
	First  uint64   `json:"first"` // the numbers of the first and the last line; 0: there is none
	Last   uint64   `json:"last"`
	Hash   string   `json:"hash,omitempty"` // of the last line
	Missed uint64   `json:"missed,omitempty"`
	Wrong  []string `json:"wrong,omitempty"` // what was changed or taken out, at most maxWrong
}

const maxWrong = 100

// Read calls each for every line in dir that is whole, the oldest first, and checks the
// chain. An error is one of reading.
func Read(dir string, each func(*Entry) error) (*Report, error) {
	names, err := files(dir)
	if err != nil {
		return nil, err
	}
	c := &chain{each: each, report: new(Report)}
	for _, name := range names {
		if err := c.file(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	if c.broken != "" {
		c.wrong(c.broken) // the end is part of a line
	}
	return c.report, nil
}

// chain checks one line after the other.
type chain struct {
	each   func(*Entry) error
	report *Report
	broken string // the line before, which is no entry
}

func (c *chain) wrong(text string) {
	if len(c.report.Wrong) < maxWrong {
		c.report.Wrong = append(c.report.Wrong, text)
	}
}

func (c *chain) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for number := 1; lines.Scan(); number++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		e, err := decode(lines.Bytes())
		if err != nil {
			if c.broken != "" {
				c.wrong(c.broken)
			}
			c.broken = fmt.Sprintf("%s:%d: %v", path, number, err)
			continue
		}
		c.link(e, fmt.Sprintf("%s:%d", path, number))
		if err := c.each(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("audit: %s: %w", path, err)
	}
	return nil
}

// link checks that e follows the line before it.
func (c *chain) link(e *Entry, where string) {
	r := c.report
	if c.broken != "" && !e.Torn {
		c.wrong(c.broken)
	}
	c.broken = ""
	switch {
	case r.Last == 0:
		r.First = e.N
		if e.N == 1 && e.Prev != "" {
			c.wrong(where + ": it is not the first line that was written")
		}
	case e.N != r.Last+1:
		c.wrong(fmt.Sprintf("%s: line %d follows line %d", where, e.N, r.Last))
	case e.Prev != r.Hash:
		c.wrong(fmt.Sprintf("%s: line %d was written behind another line %d", where, e.N, r.Last))
	}
	r.Last, r.Hash = e.N, e.Hash
	r.Missed += e.Missed
}

// end returns the last line of a file that is whole, and whether part of a line follows
// it. A line that lacks only its end is whole.
func end(path string) (last *Entry, torn bool, err error) {
	text, err := tail(path)
	if err != nil {
		return nil, false, fmt.Errorf("audit: %w", err)
	}
	for len(text) > 0 {
		whole := text[len(text)-1] == '\n'
		if whole {
			text = text[:len(text)-1]
		}
		begin := len(text)
		for begin > 0 && text[begin-1] != '\n' {
			begin--
		}
		if e, err := decode(text[begin:]); err == nil {
			return e, torn || !whole, nil
		}
		torn = torn || !whole // a line that is whole and no entry is not ours to mend
		text = text[:begin]
	}
	return nil, torn, nil
}

// tail reads the last bytes of a file, more than a few lines.
func tail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	text := make([]byte, min(size, maxLine))
	if _, err := f.ReadAt(text, size-int64(len(text))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text, nil
}
