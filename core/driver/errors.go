package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// A Code classifies an error, and each code is an instruction to the engine. The
// numbers cross the wire: the list is append-only.
type Code uint8

// The codes.
const (
	OK            Code = iota // no error
	Internal                  // a bug in the driver: close the link, reopen it, report
	InvalidConfig             // stop until the configuration changes
	NotConnected              // the wire is gone: close the link and reopen it with backoff
	Timeout                   // no answer in time: the samples are Bad; some in a row demote the device, or reopen the link
	Protocol                  // an answer that breaks the protocol: as Timeout
	Busy                      // the device asks for patience: no request before After
	NotFound                  // there is no such point: it is Bad, the link is well
	BadValue                  // refuse the write: the value does not fit
	Denied                    // refuse: the device or the configuration does not allow it
	Unsupported               // do not ask again until the configuration changes
	Lost                      // samples were lost; only the gateway itself says so
)

var codeNames = [...]string{
	"ok", "internal", "invalid-config", "not-connected", "timeout", "protocol", "busy",
	"not-found", "bad-value", "denied", "unsupported", "lost",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// An Error is a fault of one point, link or device: what went wrong, for the engine (Code) and
// for a person (Text). It is immutable once returned, so one value may be shared by many
// samples.
type Error struct {
	Code  Code
	Text  string
	After time.Duration // with Busy: how long to wait; zero lets the engine choose
	Err   error         // what caused it, for errors.Is; Text already says it; does not cross the wire
}

// Error and Unwrap also take a nil *Error, which a driver may return as an error by mistake.
func (e *Error) Error() string {
	if e == nil {
		return "no error"
	}
	return e.Text
}

func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// What became of a Write, or of a Read, that failed, where its code does not say it. A
// code that refuses (InvalidConfig, Busy, NotFound, BadValue, Denied, Unsupported) says
// that it was not done; any other, that it may have been. A driver that knows better puts
// one of these into the tree of its error:
//
//	return driver.Errorf(driver.NotConnected, "%w: the port is closed", driver.ErrNotSent)
var (
	// ErrNotSent says that it was not sent to the device, and will not be.
	ErrNotSent = errors.New("not sent")
	// ErrMayBeDone says that all of it or a part may have been done.
	ErrMayBeDone = errors.New("may have been done")
)

// MayBeDone reports whether what failed with err may have been done all the same.
func MayBeDone(err error) bool {
	switch {
	case isNil(err):
		return false
	case errors.Is(err, ErrMayBeDone):
		return true
	case errors.Is(err, ErrNotSent):
		return false
	}
	switch CodeOf(err) {
	case InvalidConfig, Busy, NotFound, BadValue, Denied, Unsupported:
		return false
	default:
		return true
	}
}

// Errorf makes an Error. %w wraps, as with fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Text: err.Error(), Err: errors.Unwrap(err)}
	if _, several := err.(interface{ Unwrap() []error }); several {
		e.Err = err
	}
	return e
}

// CodeOf tells the code of any error: its own where there is an Error in its tree, otherwise
// what the standard library's errors mean on a wire.
func CodeOf(err error) Code {
	if isNil(err) {
		return OK
	}
	var e *Error
	var cfg *ConfigError
	var netErr net.Error
	switch {
	case errors.As(err, &e) && e != nil:
		return e.Code
	case errors.As(err, &cfg):
		return InvalidConfig
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return NotConnected
	default:
		return Internal
	}
}

// AsError returns err as an *Error, wrapping it with its CodeOf where it is none.
func AsError(err error) *Error {
	if isNil(err) {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e != nil && e.Error() == err.Error() {
		return e
	}
	return &Error{Code: CodeOf(err), Text: err.Error(), After: after(e), Err: outcome(err)}
}

// outcome is what err says of the outcome beside its code; nil: nothing.
func outcome(err error) error {
	for _, said := range []error{ErrMayBeDone, ErrNotSent} {
		if errors.Is(err, said) {
			return said
		}
	}
	return nil
}

// isNil also takes a nil *Error that was returned as an error for none.
func isNil(err error) bool {
	e, ok := err.(*Error) //nolint:errorlint // the pointer itself is what is looked at
	return err == nil || ok && e == nil
}

func after(e *Error) time.Duration {
	if e == nil {
		return 0
	}
	return e.After
}
