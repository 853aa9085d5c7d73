package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

var (
	// ErrExited is in the tree of an error of a call whose process is dead.
	ErrExited = errors.New("driver process is dead")
	// ErrEvicted is in the tree of an Attachment's error when another core, of an
	// epoch that is not lower, has attached to the process.
	ErrEvicted = errors.New("another core has attached to the driver process")
)

// grpcCode is the status code of a call that fails with a code of ours; the table
// stands in driver.proto too.
func grpcCode(c driver.Code) codes.Code {
	switch c {
	case driver.OK:
		return codes.OK
	case driver.InvalidConfig:
		return codes.InvalidArgument
	case driver.NotConnected:
		return codes.Unavailable
	case driver.Timeout:
		return codes.DeadlineExceeded
	case driver.Protocol:
		return codes.DataLoss
	case driver.Busy:
		return codes.ResourceExhausted
	case driver.NotFound:
		return codes.NotFound
	case driver.BadValue:
		return codes.OutOfRange
	case driver.Denied:
		return codes.PermissionDenied
	case driver.Unsupported:
		return codes.Unimplemented
	case driver.Lost:
		return codes.Aborted
	case driver.Internal:
		return codes.Internal
	}
	return codes.Internal
}

// driverCode is the reverse, and what the codes mean that only a driver in another language
// sends.
func driverCode(c codes.Code) driver.Code {
	switch c {
	case codes.OK:
		return driver.OK
	case codes.InvalidArgument:
		return driver.InvalidConfig
	case codes.Unavailable:
		return driver.NotConnected
	case codes.DeadlineExceeded:
		return driver.Timeout
	case codes.DataLoss:
		return driver.Protocol
	case codes.ResourceExhausted:
		return driver.Busy
	case codes.NotFound:
		return driver.NotFound
	case codes.OutOfRange:
		return driver.BadValue
	case codes.PermissionDenied, codes.Unauthenticated:
		return driver.Denied
	case codes.Unimplemented:
		return driver.Unsupported
	case codes.Aborted:
		return driver.Lost
	case codes.Internal, codes.Unknown, codes.FailedPrecondition, codes.AlreadyExists, codes.Canceled:
		return driver.Internal
	}
	return driver.Internal
}

// StatusOf makes an error of the engine the status of a call. The Fault in the
// details keeps what the status cannot say.
func StatusOf(err error) error {
	if err == nil {
		return nil
	}
	fault := driver.AsError(err)
	if fault.Code == driver.OK {
		fault = &driver.Error{Code: driver.Internal, Text: fault.Text}
	}
	s := status.New(grpcCode(fault.Code), FaultText(fault.Text))
	if detailed, err := s.WithDetails(EncodeFault(fault)); err == nil {
		s = detailed
	}
	return s.Err()
}

// Answered reports whether an error is an answer of the engine, and not the end of a connection:
// that has no Fault in its details.
func Answered(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if _, ok := detail.(*driverv1.Fault); ok {
			return true
		}
	}
	return false
}

// FaultOf makes the status of a call an error of the contract again. An error of
// the call's own context stays in its tree.
func FaultOf(err error, ctxErr error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, detail := range s.Details() {
		if f, ok := detail.(*driverv1.Fault); ok && f.GetCode() != driverv1.Code_CODE_UNSPECIFIED {
			return DecodeFault(f)
		}
	}
	switch {
	case s.Code() == codes.ResourceExhausted && strings.HasPrefix(s.Message(), "grpc: received message"):
		return &driver.Error{Code: driver.Protocol, Text: "the answer is larger than is taken: " + s.Message(), Err: err}
	case errors.Is(ctxErr, context.DeadlineExceeded) && s.Code() == codes.DeadlineExceeded:
		return &driver.Error{Code: driver.Timeout, Text: "the driver process gave no answer in time", Err: ctxErr}
	case ctxErr != nil:
		return fmt.Errorf("call driver process: %w", ctxErr)
	}
	return &driver.Error{Code: driverCode(s.Code()), Text: FaultText(s.Message()), Err: err}
}
