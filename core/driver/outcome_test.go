package driver_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestMayBeDone(t *testing.T) {
	for code := driver.OK; code <= driver.Lost; code++ {
		want := map[driver.Code]bool{driver.OK: true, driver.Internal: true, driver.NotConnected: true, driver.Timeout: true, driver.Protocol: true, driver.Lost: true}[code]
		if got := driver.MayBeDone(&driver.Error{Code: code}); got != want {
			t.Errorf("%v: %v", code, got)
		}
		if driver.MayBeDone(driver.Errorf(code, "%w: closed", driver.ErrNotSent)) {
			t.Errorf("%v, not sent: may be done", code)
		}
		if !driver.MayBeDone(driver.Errorf(code, "%w: two of three", driver.ErrMayBeDone)) {
			t.Errorf("%v, in part: not done", code)
		}
	}
	if driver.MayBeDone(nil) || driver.MayBeDone((*driver.Error)(nil)) || !driver.MayBeDone(errors.New("x")) {
		t.Error("no error, or one of nobody")
	}
	part := driver.Errorf(driver.Denied, "%w: %w", driver.ErrMayBeDone, driver.Errorf(driver.Denied, "%w", driver.ErrNotSent))
	if !driver.MayBeDone(part) {
		t.Error("a write of which the second half was not sent counts as not done")
	}
	if e := driver.AsError(fmt.Errorf("unit 3: %w", driver.Errorf(driver.NotConnected, "%w", driver.ErrNotSent))); driver.MayBeDone(e) {
		t.Errorf("AsError forgets that nothing was sent: %+v", e)
	}
}
