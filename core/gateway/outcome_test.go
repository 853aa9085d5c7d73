package gateway

import (
	"errors"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestOutcomeOfAnUpgrade(t *testing.T) {
	disk := errors.New("disk full")
	for _, c := range []struct {
		took          bool
		err           error
		version, code string
	}{{true, nil, "2", ""}, {false, driver.Errorf(driver.Timeout, "x"), "1", "timeout"}, {true, disk, "2", client.CodeUnconfirmed}} {
		s := outcome("acme", "1", "2", c.took, c.err)
		code := ""
		if s.Fault != nil {
			code = s.Fault.Code
		}
		if !s.Final || s.Version != c.version || code != c.code {
			t.Errorf("took %v, %v: %+v", c.took, c.err, s)
		}
	}
}

// TestFaultsOfWritesAndReads holds what a caller is told against what became of the call.
func TestFaultsOfWritesAndReads(t *testing.T) {
	sent := func(code driver.Code) error { return driver.Errorf(code, "x") }
	unsent := func(code driver.Code) error { return driver.Errorf(code, "%w: x", driver.ErrNotSent) }
	part := driver.Errorf(driver.Denied, "%w: x", driver.ErrMayBeDone)
	for _, c := range []struct {
		err         error
		write, read string
	}{
		{sent(driver.NotConnected), client.CodeUnconfirmed, client.CodeUnconfirmed},
		{sent(driver.Internal), client.CodeUnconfirmed, client.CodeUnconfirmed},
		{sent(driver.Timeout), client.CodeUnconfirmed, "timeout"},
		{sent(driver.Protocol), client.CodeUnconfirmed, "protocol"},
		{sent(driver.Denied), "denied", "denied"},
		{sent(driver.Busy), "busy", "busy"},
		{unsent(driver.NotConnected), "not-connected", "not-connected"},
		{unsent(driver.Timeout), "busy", "busy"},
		{unsent(driver.Internal), "not-connected", "not-connected"},
		{unsent(driver.Denied), "denied", "denied"},
		{part, client.CodeUnconfirmed, client.CodeUnconfirmed},
		{errors.New("x"), client.CodeUnconfirmed, client.CodeUnconfirmed},
	} {
		err := writeFault("l/d/p", c.err)
		code := driver.CodeOf(err).String()
		var whole *client.Error
		if errors.As(err, &whole) {
			code = whole.Code
		}
		if read := readFault(c.err).Code; code != c.write || read != c.read || errors.Is(err, client.ErrUnconfirmed) != driver.MayBeDone(c.err) {
			t.Errorf("%v: a write is told %s and a read %s, want %s and %s", c.err, code, read, c.write, c.read)
		}
	}
}
