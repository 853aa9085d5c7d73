package configure

import (
	"errors"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A RefusedError says that a configuration cannot be put in force, and everything because of
// which it cannot: faults of the configuration, each a *driver.ConfigError, and drivers that
// could not be asked.
type RefusedError struct{ Causes []error }

func (e *RefusedError) Error() string { return errors.Join(e.Causes...).Error() }

// Unwrap returns the causes.
func (e *RefusedError) Unwrap() []error { return e.Causes }

// Lines is Error, one line a cause.
func (e *RefusedError) Lines() []string {
	lines := make([]string, len(e.Causes))
	for i, cause := range e.Causes {
		lines[i] = cause.Error()
	}
	return lines
}

// RefusedBy returns err, which config.Load or Check answered, as a *RefusedError.
func RefusedBy(err error) *RefusedError {
	var whole *RefusedError
	if errors.As(err, &whole) {
		return whole
	}
	var several config.Errors
	if errors.As(err, &several) {
		return &RefusedError{Causes: several.Unwrap()}
	}
	return &RefusedError{Causes: []error{err}}
}

// located are the faults that have a place in a file.
func (e *RefusedError) located() (list config.Errors) {
	for _, fault := range e.Causes {
		var at *driver.ConfigError
		if errors.As(fault, &at) {
			list = append(list, at)
		}
	}
	return list
}
