package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Errors is all that is wrong, in the order of files and lines.
type Errors []*driver.ConfigError

// Error formats one error a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one, for errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// maxErrors bounds what a thoroughly wrong configuration reports. Whoever has
// mended so many runs the check again.
const maxErrors = 500

// faults gathers errors. Its zero value is ready.
type faults struct {
	files []string // by place.file
	list  Errors
	seen  map[spot]bool
	left  int // not kept because of maxErrors
}

// A spot has one error at most: of the many that a line with a range may give,
// the first tells what is wrong with all.
type spot struct {
	place place
	path  string
}

func (f *faults) add(at place, path, format string, args ...any) {
	if f.seen == nil {
		f.seen = map[spot]bool{}
	}
	switch here := (spot{at, path}); {
	case f.seen[here]:
	case len(f.list) >= maxErrors:
		f.left++
	default:
		f.seen[here] = true
		f.list = append(f.list, &driver.ConfigError{Text: fmt.Sprintf(format, args...), Place: at.named(f.files, path)})
	}
}

// err returns everything as Errors, or nil.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b *driver.ConfigError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if f.left > 0 {
		f.list = append(f.list, &driver.ConfigError{Text: fmt.Sprintf("and %d more: mend these first", f.left)})
		f.left = 0
	}
	return f.list
}
