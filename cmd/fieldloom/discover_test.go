package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
)

func TestParseHosts(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/30":             "192.0.2.1 192.0.2.2",
		"192.0.2.9/30":             "192.0.2.9 192.0.2.10",
		"192.0.2.6/31":             "192.0.2.6 192.0.2.7",
		"192.0.2.7/32,plc.example": "192.0.2.7 plc.example",
		"2001:db8::/127":           "2001:db8:: 2001:db8::1",
		"::1":                      "::1",
		"255.255.255.252/30":       "255.255.255.253 255.255.255.254",
	} {
		got, err := parseHosts(strings.Split(text, ","))
		if diff := cmp.Diff(strings.Fields(want), got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "192.0.2.0/33", "a b", "10.0.0.0/8", "10.0.0.0/21", "2001:db8::/64", "10.0.0.0/22,10.1.0.0/29"} {
		if got, err := parseHosts(strings.Split(text, ",")); err == nil {
			t.Errorf("%q is %d hosts, want an error", text, len(got))
		}
	}
	if got, err := parseHosts([]string{"10.0.0.0/22"}); err != nil || len(got) != 1022 {
		t.Errorf("%d hosts, %v", len(got), err)
	}
}

func TestHostLinks(t *testing.T) {
	for port, want := range map[int][]string{0: {"tcp://plc", "tcp://[::1]"}, 502: {"tcp://plc:502", "tcp://[::1]:502"}} {
		var got []string
		for _, l := range (&discoverWord{Port: port}).hostLinks([]string{"plc", "::1"}) {
			got = append(got, l.url)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// A bar is drawn over itself: it may never be wider than the terminal.
func TestDiscoveryBarKeepsItsWidth(t *testing.T) {
	now := time.Now()
	p := &discoveryBar{s: &screen{}, began: now.Add(-time.Minute), last: client.Discovery{Done: 123, Of: 247}, found: make([]client.Found, 7)}
	for width := range 200 {
		if bar := p.bar(width, now); len([]rune(bar)) >= max(width, 2) {
			t.Errorf("%d wide on a terminal of %d: %s", len([]rune(bar)), width, bar)
		}
	}
	if got, want := p.bar(80, now), "[##############                ] 123 of 247, 7 found, 1m0s left"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
