package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
)

// wideStatus has something in every table.
func wideStatus(now time.Time) *client.Status {
	cause := "the device at tcp://192.168.100.200:502 does not answer, and has not since the last change of its configuration"
	fault := &client.Fault{Code: "timeout", Text: cause}
	return &client.Status{
		Health: client.Health{Gateway: "plant", Version: "devel-0123456789ab", PID: 123456, Since: now.Add(-time.Hour)},
		Config: client.ConfigStatus{Dir: "/etc/fieldloom/plants/the-one-with-a-long-name", Errors: []string{"links/line1.yaml:3:5: " + cause}},
		Drivers: []client.Driver{{Name: "modbus", State: "backing-off", Version: "1.2.3-rc.4+build.567", PID: 1234567, Restarts: 12345, Samples: 123456789012, Rate: 98765.4,
			Gaps: 1234, Ring: 1 << 30, SpillMax: 1 << 40, Cause: cause, Stderr: []string{"panic: " + cause}, Meters: []client.Meter{{Link: "line1", Name: "reconnects", Value: 1}},
			Processes: []client.Process{{Member: 0, State: "backing-off", Cause: cause, Version: "1.2.3-rc.4+build.567", Detached: true, PID: 1234567,
				Confinement: &client.Confinement{Mode: "best-effort", InForce: []string{"seccomp: x", "rlimits", "landlock", "capabilities", "no new privileges", "namespaces"},
					Missing: []string{"cgroup: none", "a user of its own"}}}}}},
		Links: []client.Link{
			{Name: "line1", Driver: "modbus", State: "down", Cause: fault, Devices: []client.Device{
				{Name: "a-rather-long-name-of-a-meter", State: "not-started", Cause: fault, Polls: 12345678, Samples: 1234567890, Rate: 1e5, LastPoll: 12.3}, {Name: "m2", State: "up"}}},
			{Name: "line2", Driver: "mqtt", State: "up", Devices: []client.Device{{Name: "m1", State: "up"}}},
		},
		Offline: []client.LineResult{{Name: "line1/m2", Text: cause}},
	}
}

func TestStatusFitsTheScreenAndLeavesOutNoCause(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, width := range []int{80, 60, 132, 40} {
		lines := statusLines(&screen{}, wideStatus(now), now, &statusWord{}, width)
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("%d: %q is wider", width, line)
			}
		}
		if all := strings.Join(lines, "\n"); !strings.Contains(all, "up 1h0m, pid 123456") || !strings.Contains(all, "cgroup, a user of its own") || width <= 80 && !strings.Contains(all, "missing: cgroup") {
			t.Errorf("%d: something is missing:\n%s", width, all)
		}
		text := strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
		if n := strings.Count(text, "and has not since the last change of its configuration"); n != 7 {
			t.Errorf("%d: %d causes, want 7:\n%s", width, n, strings.Join(lines, "\n"))
		}
	}
	wide := strings.Join(statusLines(&screen{}, wideStatus(now), now, &statusWord{}, 0), "\n")
	if !strings.Contains(wide, "LATE MS") || !strings.Contains(wide, "0.0    timeout: the device at") {
		t.Errorf("in a pipe nothing is left out or moved:\n%s", wide)
	}
}

func TestStatusOfSome(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		names []string
		want  string
		wrong string
	}{
		{nil, "line1/a-rather-long-name-of-a-meter line1/m2 line2/m1 modbus", ""},
		{[]string{"line2"}, "line2/m1", ""},
		{[]string{"line*"}, "line1/a-rather-long-name-of-a-meter line1/m2 line2/m1 modbus", ""},
		{[]string{"line1/m?", "*/m1"}, "line1/m2 line2/m1 modbus", ""},
		{[]string{"line1/m2", "line1/*"}, "line1/m2 line1/a-rather-long-name-of-a-meter modbus", ""},
		{[]string{"line1/m2", "line1"}, "line1/a-rather-long-name-of-a-meter line1/m2 modbus", ""},
		{[]string{"line2", "line9"}, "", "line9"},
		{[]string{"line2/m9"}, "", "line2/m9"},
		{[]string{"["}, "", "["},
	} {
		st := wideStatus(now)
		err := narrowStatus(st, test.names)
		if (err != nil) != (test.wrong != "") || err != nil && !strings.Contains(err.Error(), "matches "+test.wrong+":") {
			t.Errorf("%v: %v", test.names, err)
		}
		if err != nil {
			continue
		}
		var got []string
		for _, l := range st.Links {
			for _, d := range l.Devices {
				got = append(got, l.Name+"/"+d.Name)
			}
		}
		for _, d := range st.Drivers {
			got = append(got, d.Name)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.names, diff)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"":                    {},
		"short":               {"short"},
		"ten chars a row":     {"ten chars", "a row"},
		"unbreakablelongword": {"unbreakabl", "elongword"},
		"ünïcödë wörds hërë":  {"ünïcödë", "wörds hërë"},
	} {
		if diff := cmp.Diff(want, append([]string{}, wrap(text, 10)...)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
