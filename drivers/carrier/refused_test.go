package carrier

import (
	"strings"
	"syscall"
	"testing"
)

// A port that its mode would allow is refused by the confinement, and another by its group.
func TestOpenErrorNamesWhatRefuses(t *testing.T) {
	for port, want := range map[string]string{"/dev/null": "its confinement keeps the driver from the port", "/nowhere": "the driver's user may not use the port"} {
		if err := openError(port, syscall.EACCES); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", port, err)
		}
	}
	if err := openError("/dev/ttyS0", syscall.EBUSY); !strings.Contains(err.Error(), "another process uses the port") {
		t.Error(err)
	}
}
