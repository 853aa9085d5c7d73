package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestSince(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 3, 1, 20, 30, 0, 7, zone)
	for text, want := range map[string]time.Time{
		"5m":       now.Add(-5 * time.Minute),
		"2d":       now.Add(-48 * time.Hour),
		"1w":       now.Add(-7 * 24 * time.Hour),
		"20:15":    time.Date(2026, 3, 1, 20, 15, 0, 0, zone),
		"20:30:00": time.Date(2026, 3, 1, 20, 30, 0, 0, zone),
		"00:00":    time.Date(2026, 3, 1, 0, 0, 0, 0, zone),
		"20:31":    time.Date(2026, 2, 28, 20, 31, 0, 0, zone),
		"20:30:01": time.Date(2026, 2, 28, 20, 30, 1, 0, zone),
	} {
		var s since
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.before(now); !got.Equal(want) {
			t.Errorf("since %s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "x", "24:00", "20:60", "-5m", "20h15", "yesterday"} {
		if err := new(since).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if got := new(since).before(now); !got.IsZero() {
		t.Errorf("without --since: %v", got)
	}
}

func TestLinesForPeople(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.Local)
	now := at.Add(90 * time.Second)
	fault := &client.Fault{Code: "timeout", Text: "no\x1b answer"}
	for want, s := range map[string]client.Sample{
		"l/d/p  230.1 V  good":                                    {Value: driver.Float64Value(230.1), Unit: "V", Quality: driver.Good},
		"l/d/p  1234567  good":                                    {Value: driver.Float64Value(1234567), Quality: driver.Good},
		"l/d/p  a \"text\" ·[2J  good":                            {Value: driver.StringValue("a \"text\" \x1b[2J"), Quality: driver.Good},
		"l/d/p  7 °C  uncertain":                                  {Value: driver.Int64Value(7), Unit: "°C", Quality: driver.Uncertain},
		"l/d/p  null  bad  timeout: no· answer":                   {Unit: "V", Fault: fault},
		"l/d/p  true  good  (1m30s ago)":                          {Value: driver.BoolValue(true), Quality: driver.Good, Last: &client.Last{}},
		"l/d/p  2 V  good  (1m30s ago, unchanged since 03:04:04)": {Value: driver.Int64Value(2), Unit: "V", Quality: driver.Good, Last: &client.Last{Since: at.Add(-time.Second)}},
		"l/d/p  null  bad  timeout: no· answer  (1m30s ago, last good 2 V at 2026-01-01 03:04:05)": {Unit: "V", Fault: fault,
			Last: &client.Last{Good: driver.Int64Value(2), GoodTime: at.AddDate(0, 0, -1)}},
	} {
		s.Link, s.Device, s.Point, s.Time = "l", "d", "p", at
		var out bytes.Buffer
		w := newLineWriter(&screen{out: &out})
		w.now = func() time.Time { return now }
		line := append(s.AppendJSON(nil), '\n')
		if _, err := w.Write(append(line, line...)); err != nil {
			t.Fatal(err)
		}
		want = "2026-01-02T03:04:05.678  " + want + "\n"
		if got := out.String(); got != want+want {
			t.Errorf("got  %q\nwant %q twice", got, want)
		}
	}
	var out bytes.Buffer
	lost := client.Sample{Time: at, Fault: &client.Fault{Code: "lost", Text: "7 samples"}}
	if err := printSample(&screen{out: &out}, &lost, false); err != nil || out.String() != "2026-01-02T03:04:05.678  lost: 7 samples\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A gateway that goes away between two lines, or within one, costs no line and repeats none.
func TestFollowGoesOnAfterTheGatewayHasStopped(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	streams := []struct{ after, body string }{
		{"", `{"link":"l","position":"1.1"}` + "\n" + `{"link":"l","position":"1.2"}` + "\n" + `{"posit`},
		{"1.2", ""},
		{"1.2", `{"link":"l","position":"1.3"}` + "\n"},
		{"1.3", `{"link":"l","position":"2.1"}` + "\n"},
	}
	n := 0
	serve := func(w http.ResponseWriter, r *http.Request) {
		s := streams[n]
		if got := r.URL.Query(); got.Get("after") != s.after || got.Has("last") != (n == 0) {
			t.Errorf("stream %d is asked for as %v", n, got)
		}
		n++
		w.Header().Set(client.PositionHeader, "1")
		if s.after != "" {
			w.Header().Set(client.PositionHeader, s.after)
		}
		_, _ = io.WriteString(w, s.body)
		_ = http.NewResponseController(w).Flush()
		if n < len(streams) {
			panic(http.ErrAbortHandler)
		}
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(serve)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { _, _ = server.Close(), <-served }()
	c := client.New(socket)
	defer c.Close()
	var out bytes.Buffer
	var told []string
	err = follow(t.Context(), c, client.WatchOptions{Last: true, For: time.Minute}, &out, func(text string) { told = append(told, text) })
	if err != nil {
		t.Error(err)
	}
	want := ""
	for _, p := range []string{"1.1", "1.2", "1.3", "2.1"} {
		want += `{"link":"l","position":"` + p + `"}` + "\n"
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	stopped := "no gateway answers any more: it has stopped: waiting for it, to go on where it ended"
	if diff := cmp.Diff([]string{stopped, "the gateway is back", stopped, "the gateway is back"}, told); diff != "" {
		t.Error(diff)
	}
}

// stored is lines as the gateway writes them.
func storedLines(n int) []byte {
	var out []byte
	var e client.Encoder
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for i := range n {
		s := client.Sample{Link: "line1", Device: "m7", Point: "voltage", Value: driver.Float64Value(230 + float64(i%100)/10), Unit: "V", Quality: driver.Good,
			Time: at.Add(time.Duration(i/100) * time.Millisecond), Stored: at, Position: client.Position{Record: uint64(i / 1000), Sample: uint32(i%1000 + 1)}}
		out = append(e.Append(out, &s), '\n')
	}
	return out
}

// BenchmarkClientLine is what a line costs the client, by what it does with it, beside a
// bare copy of the same bytes from a socket and what decoding the JSON costs. One iteration
// is one line.
func BenchmarkClientLine(b *testing.B) {
	const lines = 100_000
	body := storedLines(lines)
	screen := &screen{out: io.Discard}
	table := newLatest(screen)
	people := newLineWriter(screen)
	for _, way := range []struct {
		name string
		read func(b *testing.B, c *client.Client, socket string)
	}{
		{"bare", func(b *testing.B, _ *client.Client, socket string) {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
			if n, err := io.Copy(io.Discard, conn); err != nil || n < int64(len(body)) {
				b.Fatal(n, err)
			}
		}},
		{"json", func(b *testing.B, c *client.Client, _ string) { pass(b, c, io.Discard) }},
		{"text", func(b *testing.B, c *client.Client, _ string) { pass(b, c, people) }},
		{"table", func(b *testing.B, c *client.Client, _ string) { pass(b, c, table) }},
		{"decoded", func(b *testing.B, c *client.Client, _ string) {
			var line []byte
			for s, err := range c.Watch(b.Context(), client.WatchOptions{Replay: true}) {
				if err != nil {
					b.Fatal(err)
				}
				line = s.AppendJSON(line[:0])
			}
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			socket := filepath.Join(b.TempDir(), "s")
			stop := serveBody(b, socket, body)
			defer stop()
			c := client.New(socket)
			defer c.Close()
			b.SetBytes(int64(len(body) / lines))
			b.ResetTimer()
			for done := 0; done < b.N; done += lines {
				way.read(b, c, socket)
			}
		})
	}
}

func pass(b *testing.B, c *client.Client, to io.Writer) {
	at, err := c.Lines(b.Context(), client.WatchOptions{Replay: true}, func(lines []byte) error {
		_, err := to.Write(lines)
		return err
	})
	if err != nil || at.IsZero() {
		b.Fatal(at, err)
	}
}

// serveBody answers every request with body.
func serveBody(b *testing.B, socket string, body []byte) (stop func()) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 64<<10)
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return func() { _, _ = server.Close(), <-served }
}

func TestStoredLinesAreJSON(t *testing.T) {
	for line := range strings.Lines(string(storedLines(3))) {
		if !json.Valid([]byte(line)) {
			t.Error(line)
		}
	}
}
