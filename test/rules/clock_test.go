package rules_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stepped is a duration since a time that came through a number. Such a time has no
// monotonic clock, so the duration has every step of the wall clock in it.
var stepped = regexp.MustCompile(`time\.(Since|Until)\(time\.Unix`)

// A gateway without a clock of its own learns the time from the network, years off, and
// nothing may then take its drivers for dead.
func TestNoDurationIsMeasuredByTheWallClock(t *testing.T) {
	files := 0
	for _, p := range goList(t, "./core/...", "./drivers/...", "./cmd/...") {
		list, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			files++
			for i, line := range readLines(t, path) {
				if stepped.MatchString(line) {
					t.Errorf("%s:%d: %s: keep the time since a beginning, by the monotonic clock", path, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
	if files < 100 {
		t.Errorf("found %d files, want those of the core and of the drivers", files)
	}
}
