package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

var fuzzLimits = config.Limits{File: 1 << 16, Total: 1 << 17, Files: 3, Links: 50, Devices: 500, Points: 5000, Written: 2000}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/wrong/*.txtar", "testdata/plant/*.yaml", "testdata/plant/links/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			data, _, _ = bytes.Cut(data, []byte("-- want --"))
			f.Add(bytes.TrimPrefix(data, []byte("-- fieldloom.yaml --\n")), []byte("links: {k: {driver: bare}}"))
		}
	}
	f.Fuzz(func(t *testing.T, main, links []byte) {
		c, err := config.ParseWithin(map[string][]byte{"fieldloom.yaml": main, "links/l.yaml": links}, fuzzLimits)
		if err != nil {
			checkErrors(t, err)
			return
		}
		checkConfig(t, c)
		if err := c.Check(drivers()); err != nil {
			checkErrors(t, err)
		}
	})
}

func checkErrors(t *testing.T, err error) {
	var all config.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("%T", err)
	}
	for _, e := range all {
		if e.Text == "" || e.File == "" || strings.Contains(e.Error(), "stopped:") {
			t.Fatalf("%#v", e)
		}
	}
}

// checkConfig checks what the rest of the gateway relies on.
func checkConfig(t *testing.T, c *config.Config) {
	links := map[string]bool{}
	for _, l := range c.Links {
		if l.Name == "" || links[l.Name] || l.Driver == "" || l.Timeout <= 0 || l.Gap < 0 || !json.Valid(l.Settings) {
			t.Fatalf("link %+v", l)
		}
		links[l.Name] = true
		if len(l.Classes) == 0 || l.Classes[0].Name != "default" {
			t.Fatalf("classes %+v", l.Classes)
		}
		devices := map[string]bool{}
		for _, d := range l.Devices {
			if d.Name == "" || devices[d.Name] || !json.Valid(d.Settings) || d.Table == nil {
				t.Fatalf("device %+v", d)
			}
			devices[d.Name] = true
			checkPoints(t, l, d.Table)
			if e := c.Locate("x", &driver.ConfigError{Link: l.Name, Device: d.Name, Text: "x"}); e.File == "" || e.Line == 0 {
				t.Fatalf("no place for %s/%s: %v", l.Name, d.Name, e)
			}
		}
	}
}

func checkPoints(t *testing.T, l *config.Link, table *control.Table) {
	points := map[string]bool{}
	for _, p := range table.Points {
		if p.Name == "" || points[p.Name] || p.Address == "" || p.Class < 0 || p.Class >= len(l.Classes) {
			t.Fatalf("point %+v", p)
		}
		points[p.Name] = true
		if !p.Readable && !p.Writable || p.Scale != nil && *p.Scale == 0 || p.Min != nil && p.Max != nil && *p.Min > *p.Max {
			t.Fatalf("point %+v", p)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"n", "20000+n", "(n-1)*2", "-d*l", "9223372036854775807+n", "((((", "n++n"} {
		f.Add(seed, int64(3))
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		got, err := config.EvalExpr(text, n, n, n)
		if err != nil {
			return
		}
		again, err := config.EvalExpr("("+text+")*1+0", n, n, n)
		if err == nil && again != got {
			t.Fatalf("%q is %d, in parentheses %d", text, got, again)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"holding:{n}", "{{n}}", "{n:03d}", `\d{3}{x}`, "{n", "{{{n}}}", `{"a":{"b":{n}}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := config.EvalWords(text, 1, 2, 3)
		if err == nil && !strings.Contains(text, "{") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"m", "m[1..3]", "m[001..100].x", "m[9..1]", "m[", "[0..999999999999]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, size, err := config.ExpandName(text, 1000)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, name := range names {
			if name == "" || len(name) > 128 || seen[name] || strings.ContainsAny(name, "/ []") {
				t.Fatalf("%q makes %q", text, name)
			}
			seen[name] = true
		}
		if size < int64(len(names)) || size > 1000 && len(names) != 1000 {
			t.Fatalf("%q makes %d names, not %d", text, len(names), size)
		}
	})
}

func FuzzDurationAndSize(f *testing.F) {
	for _, seed := range []string{"1m30s", "7d", "2GiB", "1.5 KiB", "0", "999999999999999999999d", "1e9s", "..B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := config.ParseDuration(text); err == nil && d < 0 {
			t.Fatalf("%q is %v", text, d)
		}
		if n, err := config.ParseSize(text); err == nil && (n < 0 || n > 1<<60) {
			t.Fatalf("%q is %d", text, n)
		}
	})
}
