package serial

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// newFramer makes the framer of a port.
func (s *linkSettings) newFramer() framer {
	if s.form != nil {
		return &blockFramer{blockForm: *s.form}
	}
	return &lineFramer{terminator: []byte(s.Terminator.Receive), maxLine: s.MaxLine, sum: s.sum}
}

// wake waits until what is at a port has settled, throws away what it said meanwhile, and sends
// the lines that it wants to hear first.
func (s *linkSettings) wake(ctx context.Context, port carrier.Conn) error {
	if err := s.address.Pause(ctx); err != nil {
		return driver.Errorf(driver.NotConnected, "open %s: %w", s.Port, err)
	}
	if s.Settle > 0 {
		wait := time.NewTimer(time.Duration(s.Settle))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return driver.Errorf(driver.NotConnected, "open %s: given up while it settles: %w", s.Port, context.Cause(ctx))
		}
		if err := port.Discard(); err != nil {
			return err
		}
	}
	if len(s.Open) == 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); ok {
		_ = port.SetWriteDeadline(end)           // fails only when closed; so does the write
		defer port.SetWriteDeadline(time.Time{}) //nolint:errcheck // likewise
	}
	for _, text := range s.Open {
		if _, err := port.Write([]byte(text + s.Terminator.Send)); err != nil {
			return driver.Errorf(driver.NotConnected, "open %s: write the first lines: %w", s.Port, err)
		}
	}
	return nil
}
