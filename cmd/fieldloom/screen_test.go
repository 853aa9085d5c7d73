package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

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
