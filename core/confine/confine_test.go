package confine_test

import (
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/confine"
)

// The image gets its arguments and its environment, and with confinement runs
// without any privilege.
func TestImageRuns(t *testing.T) {
	img := image(t)
	for _, mode := range []confine.Mode{confine.Off, confine.BestEffort, confine.Required} {
		r := start(t, confine.Policy{Mode: mode, Read: []string{"/proc/self/status"}}, img, scene{}, "breathe")
		if r.fault != nil || r.out != "allowed" || r.report.Mode != mode {
			t.Errorf("%v: %q, %v, report %v\n%s", mode, r.out, r.fault, &r.report, r.errs)
		}
	}
}

func TestModes(t *testing.T) {
	for _, mode := range []confine.Mode{confine.Off, confine.BestEffort, confine.Required} {
		if got, err := confine.ParseMode(mode.String()); err != nil || got != mode {
			t.Errorf("ParseMode(%v) = %v, %v", mode, got, err)
		}
	}
	if _, err := confine.ParseMode("yes"); err == nil || !strings.Contains(err.Error(), "best-effort") {
		t.Errorf("ParseMode(yes): %v", err)
	}
}
