package driver_test

import (
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestCheckEndpoint(t *testing.T) {
	for _, tc := range []struct{ host, port, wrong string }{
		{"192.0.2.1", "502", ""},
		{"plc7", "1", ""},
		{"plc_7.plant.example.", "65535", ""},
		{"2001:db8::7", "502", ""},
		{"fe80::1%eth0", "502", ""},
		{"3com.example", "502", ""},
		{"münchen.example", "502", ""},
		{"192.168.0.300", "502", "four numbers"},
		{"192.168.0", "502", "four numbers"},
		{"1.2.3.4.5", "502", "four numbers"},
		{"010.1.1.1", "502", "four numbers"},
		{"502", "502", "four numbers"},
		{"2001:db8:::7", "502", "IPv6"},
		{"", "502", "no IP address"},
		{"plc..example", "502", "no name"},
		{"-plc", "502", "no name"},
		{"plc 7", "502", "no name"},
		{"${HOST}", "502", "no name"},
		{strings.Repeat("a", 64), "502", "no name"},
		{"plc7", "0", "port"},
		{"plc7", "70000", "port"},
		{"plc7", "", "port"},
		{"plc7", "-1", "port"},
	} {
		err := driver.CheckEndpoint(tc.host, tc.port)
		if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("CheckEndpoint(%q, %q) = %v, want %q", tc.host, tc.port, err, tc.wrong)
		}
	}
}
