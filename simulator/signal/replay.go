package signal

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rows that one replay may have; a longer record belongs into several.
const maxRows = 1 << 20

type replay struct {
	at     []time.Duration
	values []Value
	loop   bool
}

// Replay plays a record from a CSV file: each row has a time in seconds and a value, and the
// value stands until the next row's time. A first row whose time is no number is a heading.
// With loop the record starts over after its last row, which then only marks the end; otherwise
// the last value stays.
func Replay(path string, loop bool) (Signal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	defer f.Close()
	s, err := ReadReplay(f, loop)
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", path, err)
	}
	return s, nil
}

// ReadReplay is Replay from an open file.
func ReadReplay(from io.Reader, loop bool) (Signal, error) {
	rows := csv.NewReader(from)
	rows.FieldsPerRecord = -1
	rows.TrimLeadingSpace = true
	rows.Comment = '#'
	s := &replay{loop: loop}
	for line := 1; ; line++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := s.add(row, line == 1); err != nil {
			return nil, fmt.Errorf("row %d: %w", line, err)
		}
	}
	if len(s.values) == 0 {
		return nil, errors.New("no rows with a time and a value")
	}
	return s, nil
}

func (s *replay) add(row []string, first bool) error {
	if len(row) != 2 {
		return fmt.Errorf("%d fields instead of a time and a value", len(row))
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(row[0]), 64)
	if err != nil && first {
		return nil
	}
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return fmt.Errorf("time %q is not a number of seconds", row[0])
	}
	at := time.Duration(seconds * float64(time.Second))
	if n := len(s.at); n > 0 && at <= s.at[n-1] {
		return fmt.Errorf("time %q is not after the row before", row[0])
	}
	if len(s.at) == maxRows {
		return fmt.Errorf("more than %d rows", maxRows)
	}
	s.at = append(s.at, at)
	s.values = append(s.values, Parse(strings.TrimSpace(row[1])))
	return nil
}

func (s *replay) At(elapsed time.Duration, _ uint64) Value {
	if end := s.at[len(s.at)-1]; s.loop && end > 0 {
		elapsed %= end
	}
	i, exact := slices.BinarySearch(s.at, elapsed)
	if !exact {
		i = max(i-1, 0)
	}
	return s.values[i]
}
