package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
)

func TestGridAlignsAndCutsBeforeItColours(t *testing.T) {
	g := new(grid)
	g.add(bold, "NAME", "VALUE")
	g.add(green, "a", "1")
	g.add("", "a longer name", "\x1b[31mred\x1b[0m")
	want := []string{"NAME           VALUE", "a              1", "a longer name  ·[31mred·[0m"}
	if diff := cmp.Diff(want, g.lines(&screen{}, 0)); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	coloured := g.lines(&screen{colour: true}, 8)
	want = []string{"\x1b[1mNAME   …\x1b[0m", "\x1b[32ma      …\x1b[0m", "a longe…"}
	if diff := cmp.Diff(want, coloured); diff != "" {
		t.Errorf("coloured (-want +got):\n%s", diff)
	}
}

func TestCanvasDrawsOverItself(t *testing.T) {
	var out bytes.Buffer
	c := canvas{s: &screen{out: &out}}
	c.draw([]string{"one", "two"}, 0)
	c.draw([]string{"three"}, 0)
	if got := out.String(); got != "one\x1b[K\ntwo\x1b[K\n\x1b[J"+"\x1b[2A\rthree\x1b[K\n\x1b[J" {
		t.Errorf("drew %q", got)
	}
	out.Reset()
	c.draw(strings.Split(strings.Repeat("x\n", 99)+"x", "\n"), 10)
	lines := strings.Count(out.String(), "\n")
	if lines != 23 || !strings.Contains(out.String(), "… and 88 more") {
		t.Errorf("drew %d lines on a terminal of 24:\n%q", lines, out.String())
	}
}

// A line that the terminal breaks in two would move everything that is drawn after it.
func TestNothingIsWiderThanTheTerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = tty.Close(), terminal.Close() }()
	const width = 12
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 5, Cols: width}); err != nil {
		t.Fatal(err)
	}
	table := newLatest(&screen{out: tty, lively: true})
	for _, device := range []string{"a", "b", "c", "d", "e", "f"} {
		table.take(client.Sample{Link: "line1", Device: device, Point: "temperature"})
	}
	table.draw()
	shown := bufio.NewScanner(terminal)
	for range 4 {
		if !shown.Scan() {
			t.Fatal(shown.Err())
		}
		if line := strings.ReplaceAll(strings.TrimRight(shown.Text(), "\r"), "\x1b[K", ""); utf8.RuneCountInString(line) > width {
			t.Errorf("%q is wider than %d", line, width)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1234 * time.Millisecond: "1.2s", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 72 * time.Hour: "3d",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "-" {
		t.Errorf("never: %s", got)
	}
}

func TestRingText(t *testing.T) {
	d := client.Driver{Ring: 1536}
	if got := ringText(&d); got != "1.5 KiB" {
		t.Errorf("without a spill: %s", got)
	}
	d.Spill, d.SpillMax = 2048, 1<<30
	if got := ringText(&d); got != "1.5 KiB + 2.0 KiB of 1.0 GiB on disk" {
		t.Errorf("with a spill: %s", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 2 << 30: "2.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// What is the same for several processes is said once, and nothing of one that is not there.
func TestConfinementGrid(t *testing.T) {
	same := &client.Confinement{Mode: "best-effort", InForce: []string{"seccomp: a list", "rlimits"}, Missing: []string{"cgroup: none"}}
	g := confinementGrid(&client.Status{Drivers: []client.Driver{{Name: "a", Processes: []client.Process{
		{Member: 0, Confinement: same}, {Member: 1}, {Member: 2, Confinement: &client.Confinement{Mode: "off"}}, {Member: 3, Confinement: same},
	}}, {Name: "b"}}})
	want := [][]string{{"CONFINED", "MODE", "IN FORCE", "MISSING"}, {"a.0,3", "best-effort", "seccomp, rlimits", "cgroup"}, {"a.2", "off", "", ""}}
	if diff := cmp.Diff(want, g.rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A panic's stack reads as one, and cannot drive the terminal.
func TestLogLineOfSeveralLines(t *testing.T) {
	var out bytes.Buffer
	line := client.LogLine{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), PID: 7, Level: "error", Text: "panicked stack=one\n\ttwo\x1b[2J\nthree\n"}
	if err := printLogLine(&screen{out: &out}, &line, false); err != nil {
		t.Fatal(err)
	}
	if want := "2026-01-02T03:04:05.000  7  error  panicked stack=one\n        two·[2J\n    three\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestEventLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for want, e := range map[string]client.Event{
		"a  verified: version 1":            {From: "verified", To: "verified", Cause: "version 1"},
		"a[7]  starting -> standby":         {PID: 7, From: "starting", To: "standby"},
		"a  line1  link line1 is elsewhere": {Link: "line1", Step: "link line1 is elsewhere"},
	} {
		e.Time, e.Driver = at, "a"
		if got := eventLine(&screen{}, &e); got != "2026-01-02T03:04:05.000  "+want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What a device or a driver says does nothing to a terminal, in a table, a line of JSON or the
// log; and the JSON says the same.
func TestNothingObeysATerminal(t *testing.T) {
	const evil = "a\x1b[2J\u009b31m\u202eb\u2066c\u2069\x7f\u061cd"
	if got := printableLines("x\n" + evil); strings.ContainsFunc(strings.TrimPrefix(got, "x\n"), client.Obeyed) {
		t.Errorf("a text: %q", got)
	}
	var out bytes.Buffer
	if err := printJSON(&out, map[string]string{"text": evil}); err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["text"] != evil || strings.ContainsFunc(strings.TrimSpace(out.String()), client.Obeyed) {
		t.Errorf("JSON: %q, %v", out.String(), err)
	}
	for _, format := range []string{"text", "json"} {
		out.Reset()
		newLog(&out, format, slog.LevelInfo).Info(evil, evil, evil)
		if strings.ContainsFunc(strings.TrimSpace(out.String()), client.Obeyed) {
			t.Errorf("log %s: %q", format, out.String())
		}
	}
}
