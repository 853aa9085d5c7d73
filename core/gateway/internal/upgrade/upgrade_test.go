package upgrade

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
