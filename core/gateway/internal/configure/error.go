package configure

import (
	"errors"

	"github.com/fieldloom/fieldloom/core/config"
)

// An Error says that a configuration cannot be put in force. It lists every
// fault, with its position where it has one.
type Error struct{ Faults []error }

func (e *Error) Error() string { return errors.Join(e.Faults...).Error() }

// Unwrap returns the faults.
func (e *Error) Unwrap() []error { return e.Faults }

// Lines is Error, one line a fault.
func (e *Error) Lines() []string {
	lines := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		lines[i] = fault.Error()
	}
	return lines
}

// ErrorOf returns err, which config.Load or Check answered, as an *Error.
func ErrorOf(err error) *Error {
	var whole *Error
	if errors.As(err, &whole) {
		return whole
	}
	var several config.Errors
	if errors.As(err, &several) {
		return &Error{Faults: several.Unwrap()}
	}
	return &Error{Faults: []error{err}}
}

// located are the faults that have a place in a file.
func (e *Error) located() (list config.Errors) {
	for _, fault := range e.Faults {
		var at *config.Error
		if errors.As(fault, &at) {
			list = append(list, at)
		}
	}
	return list
}
