package mqtt

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

// What the machine refuses is told from what the broker does.
func TestDialErrorNamesTheConfinement(t *testing.T) {
	for errno, confined := range map[syscall.Errno]bool{
		syscall.EACCES: true, syscall.EPERM: true, syscall.EAFNOSUPPORT: true, syscall.ECONNREFUSED: false, syscall.ENETUNREACH: false,
	} {
		cause := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
		err := dialError("tcp://192.0.2.1", cause)
		if strings.Contains(err.Error(), "confinement") != confined || driver.CodeOf(err) != driver.NotConnected || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
