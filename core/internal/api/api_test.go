package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/api"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// fake answers what its fields say.
type fake struct {
	err     error
	samples []client.Sample
	wrote   driver.Value
	asked   client.WatchOptions
	hold    bool // a stream stays open after its samples
	ended   chan error
	fakeDrivers
}

// services is f as all of them.
func (f *fake) services() api.Services {
	return api.Services{Gateway: f, Status: f, Config: f, Commands: f, Explorer: f, Samples: f, Packages: f, Choices: f, Upgrades: f, History: f}
}

func (f *fake) Health() client.Health {
	return client.Health{Gateway: "plant-7", Version: "1.2.3", PID: 42, Since: epoch}
}

func (f *fake) Status(context.Context) (*client.Status, error) {
	return &client.Status{Health: f.Health(), Drivers: []client.Driver{{Name: "modbus", State: "active", Since: epoch}}}, f.err
}

func (f *fake) Points(patterns []string) ([]client.Point, error) {
	return []client.Point{{Link: "a", Device: "b", Point: strings.Join(patterns, "+"), Access: "r"}}, f.err
}

func (f *fake) Read(context.Context, []string) ([]client.Sample, error) { return f.samples, f.err }

func (f *fake) Browse(_ context.Context, name, prefix string) ([]client.Found, error) {
	return []client.Found{{Address: prefix + ":float32", Name: name, Kind: "float64", Value: "21.5", Likely: true}}, f.err
}

func (f *fake) Discover(ctx context.Context, o client.DiscoverOptions, each func(client.Discovery) error) error {
	for n := range 3 {
		d := client.Discovery{Done: n + 1, Of: 3}
		if n == 1 {
			d.Found = &client.Found{Name: o.Link + o.Within + o.Timeout.String()}
		}
		if err := each(d); err != nil {
			return err
		}
	}
	return f.err
}

func (f *fake) Write(_ context.Context, _ string, v driver.Value) (time.Time, error) {
	f.wrote = v
	return epoch, f.err
}

func (f *fake) Reload(context.Context) (client.ConfigStatus, error) {
	return client.ConfigStatus{Dir: "/etc/plant", Revision: 3, Loaded: epoch}, f.err
}

func (f *fake) Values(_ context.Context, patterns []string, to api.Sink) error {
	f.asked.Patterns = patterns
	if f.err != nil {
		return f.err
	}
	to.Begin(client.Position{})
	for i := range f.samples {
		if err := to.Sample(&f.samples[i]); err != nil {
			return err
		}
	}
	return to.Flush()
}

func (f *fake) Watch(ctx context.Context, o client.WatchOptions, to api.Sink) (err error) {
	defer func() { f.ended <- err }()
	f.asked = o
	for i := range f.samples {
		if err := to.Sample(&f.samples[i]); err != nil {
			return err
		}
	}
	if err := to.Flush(); err != nil || !f.hold {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// serve serves f on a socket of the test and returns its client and its path.
func serve(t *testing.T, f *fake) (*client.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "fieldloom.sock")
	l, err := api.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, api.Handler(f.services()), slog.New(slog.DiscardHandler)) }()
	c := client.New(socket)
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return c, socket
}

func TestQueriesAndCommandsArriveWhole(t *testing.T) {
	samples := []client.Sample{
		{Link: "a", Device: "b", Point: "f", Value: driver.Float64Value(1.5), Quality: driver.Good, Time: epoch},
		{Link: "a", Device: "b", Point: "big", Value: driver.Uint64Value(math.MaxUint64), Quality: driver.Uncertain, Time: epoch,
			Fault: &client.Fault{Code: "timeout", Text: "old"}},
		{Link: "a", Device: "b", Point: "none", Time: epoch, Fault: &client.Fault{Code: "not-found", Text: `no "such" register`}},
	}
	f := &fake{samples: samples}
	c, _ := serve(t, f)
	ctx := t.Context()
	if h, err := c.Health(ctx); err != nil || h != f.Health() {
		t.Errorf("Health = %+v, %v", h, err)
	}
	if s, err := c.Status(ctx); err != nil || s.PID != 42 || s.Drivers[0].Name != "modbus" {
		t.Errorf("Status = %+v, %v", s, err)
	}
	if p, err := c.Points(ctx, "a/*", "x,y"); err != nil || p[0].Point != "a/*+x,y" {
		t.Errorf("Points = %+v, %v: patterns changed on their way", p, err)
	}
	got, err := c.Read(ctx, "a/b/f")
	if diff := cmp.Diff(samples, got, cmp.Comparer(driver.Value.Equal)); err != nil || diff != "" {
		t.Errorf("Read: %v\n%s", err, diff)
	}
	w, err := c.Write(ctx, client.WriteRequest{Point: "a/b/f", Value: []byte("18446744073709551615")})
	if err != nil || !w.Time.Equal(epoch) || !f.wrote.Equal(driver.Uint64Value(math.MaxUint64)) {
		t.Errorf("Write = %+v, %v, the gateway got %v", w, err, f.wrote)
	}
	if s, err := c.Reload(ctx); err != nil || s.Revision != 3 {
		t.Errorf("Reload = %+v, %v", s, err)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		code   string
		text   string
	}{
		{driver.Errorf(driver.NotFound, "link x: no such link"), 404, "not-found", "link x: no such link"},
		{driver.Errorf(driver.Timeout, "no answer"), 504, "timeout", "no answer"},
		{driver.Errorf(driver.NotConnected, "refused"), 503, "not-connected", "refused"},
		{driver.Errorf(driver.Busy, "patience"), 503, "busy", "patience"},
		{driver.Errorf(driver.Denied, "read only"), 403, "denied", "read only"},
		{driver.Errorf(driver.BadValue, "too big"), 422, "bad-value", "too big"},
		{driver.Errorf(driver.Protocol, "garbage"), 502, "protocol", "garbage"},
		{driver.Errorf(driver.Unsupported, "no writes"), 422, "unsupported", "no writes"},
		{errors.New("a bug"), 500, "internal", "a bug"},
		{fmt.Errorf("remove the package: %w", &fs.PathError{Op: "unlink", Path: "/p", Err: syscall.EROFS}), 503, "machine", "remove the package: unlink /p: read-only file system"},
		{&client.Error{Status: 422, Code: "invalid-config", Detail: "refused", Errors: []string{"a.yaml:1:2: x", "b"}},
			422, "invalid-config", "refused:\n  a.yaml:1:2: x\n  b"},
	} {
		c, _ := serve(t, &fake{err: test.err})
		_, err := c.Write(t.Context(), client.WriteRequest{Point: "a/b/c", Value: []byte("1")})
		var e *client.Error
		if !errors.As(err, &e) || e.Status != test.status || e.Code != test.code || e.Error() != test.text {
			t.Errorf("%v: got %#v", test.err, err)
		}
	}
}

// A part of a query that cannot be read is not left out.
func TestQueriesThatCannotBeRead(t *testing.T) {
	h := api.Handler((&fake{}).services())
	for _, target := range []string{"/v1/events?follow=%zz", "/v1/samples?pattern=a&%g=1", "/v1/status?a;b"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != 400 || !strings.Contains(w.Body.String(), "the query: ") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestRequestsThatBreakTheSchema(t *testing.T) {
	c, _ := serve(t, &fake{})
	_, err := c.Read(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 422 || len(e.Errors) == 0 {
		t.Errorf("Read of nothing: %v", err)
	}
	_, err = c.Write(t.Context(), client.WriteRequest{Point: "a/b/c", Value: []byte(`{"a":1}`)})
	if !errors.As(err, &e) || e.Code != "bad-value" {
		t.Errorf("Write of an object: %v", err)
	}
	for _, err := range c.Watch(t.Context(), client.WatchOptions{Patterns: []string{"a[/b"}}) {
		if !errors.As(err, &e) || e.Status != 400 || !strings.Contains(err.Error(), "a[/b") {
			t.Errorf("Watch of a bad pattern: %v", err)
		}
	}
}

func TestWatchStreamsUntilTheWatcherGoes(t *testing.T) {
	f := &fake{hold: true, ended: make(chan error, 1), samples: []client.Sample{
		{Link: "a", Device: "b", Point: "1", Value: driver.BoolValue(true), Quality: driver.Good, Time: epoch},
		{Link: "a", Device: "b", Point: "2", Value: driver.StringValue("x\n"), Quality: driver.Good, Time: epoch}}}
	c, _ := serve(t, f)
	since := epoch.Add(time.Nanosecond)
	var got []client.Sample
	for s, err := range c.Watch(t.Context(), client.WatchOptions{Patterns: []string{"a"}, Since: since, Replay: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, s); len(got) == 2 {
			break
		}
	}
	if diff := cmp.Diff(f.samples, got, cmp.Comparer(driver.Value.Equal)); diff != "" {
		t.Error(diff)
	}
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %v, want the watcher's going", err)
	}
	if !f.asked.Since.Equal(since) || !f.asked.Replay || f.asked.Patterns[0] != "a" {
		t.Errorf("asked %+v", f.asked)
	}
}

func TestShutdownEndsAStreamAndSaysSo(t *testing.T) {
	f := &fake{hold: true, ended: make(chan error, 1), samples: []client.Sample{{Link: "a", Time: epoch}}}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, api.Handler(f.services()), slog.New(slog.DiscardHandler)) }()
	c := client.New(socket)
	defer c.Close()
	var last error
	for _, last = range c.Watch(t.Context(), client.WatchOptions{}) {
		stop()
	}
	if !errors.Is(last, client.ErrUnreachable) {
		t.Errorf("the stream ended with %v", last)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := c.Health(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Health after the end: %v", err)
	}
}

func TestListenIsPrivateAndCarefulWithOthers(t *testing.T) {
	_, socket := serve(t, &fake{})
	info, err := os.Stat(socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if to, err := os.Readlink(socket); err != nil || !strings.HasPrefix(to, fmt.Sprintf("/proc/%d/fd/", os.Getpid())) {
		t.Errorf("the socket has a name: %q, %v", to, err)
	}
	if _, err := api.Listen(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "pid 42") {
		t.Errorf("a living gateway's socket was taken: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(socket), ".socket-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	file := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(file, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), file); err == nil {
		t.Error("a file of the user's was replaced by a socket")
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(t.Context(), socket)
	if err != nil {
		t.Fatalf("a dead gateway's socket is in the way: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a gateway leaves that was killed is a link to nowhere, or into another process.
func TestListenReplacesAStaleLink(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	for _, to := range []string{"/proc/4194399/fd/9", fmt.Sprintf("/proc/%d/fd/0", os.Getpid())} {
		if err := os.Symlink(to, socket); err != nil {
			t.Fatal(err)
		}
		l, err := api.Listen(t.Context(), socket)
		if err != nil {
			t.Fatalf("a dead gateway's link to %s is in the way: %v", to, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", socket); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), socket); err == nil {
		t.Error("a link of the user's was replaced")
	}
}

func TestSocketPathOfAnyLength(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(t.Context(), filepath.Join(dir, "fieldloom.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, api.Handler((&fake{}).services()), slog.New(slog.DiscardHandler)) }()
	c := client.New(filepath.Join(dir, "fieldloom.sock"))
	defer c.Close()
	if _, err := c.Health(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestOpenAPIDescribesEveryOperation(t *testing.T) {
	_, socket := serve(t, &fake{})
	var d net.Dialer
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}}
	answer, err := h.Get("http://gateway/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var b strings.Builder
	if _, err := io.Copy(&b, answer.Body); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"/v1/health"`, `"/v1/status"`, `"/v1/points"`, `"/v1/read"`, `"/v1/write"`, `"/v1/reload"`, `"/v1/samples"`,
		`"/v1/drivers"`, `"/v1/drivers/{name}"`, `"/v1/drivers/{name}/upgrade"`, `"/v1/drivers/{name}/logs"`, `"/v1/events"`, `"/v1/offline"`,
		`"/v1/online"`, `"/v1/stop"`, `"in_force"`,
		`"application/x-ndjson"`, `"quality"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the description lacks %s", want)
		}
	}
}

// What a request may cost is bounded: every pattern is held against every point.
func TestNamesAndPatternsAreBounded(t *testing.T) {
	c, _ := serve(t, &fake{})
	many := func(name string, n int) (list []string) {
		for range n {
			list = append(list, name)
		}
		return list
	}
	for _, tc := range []struct {
		names []string
		well  bool
	}{
		{many("a/b/c", 10_000), true}, {many("a/b/c", 10_001), false}, {many("a/*/c", 100), true}, {many("a/*/c", 101), false},
		{[]string{strings.Repeat("a", 2000)}, true}, {[]string{strings.Repeat("*", 1001)}, false},
	} {
		_, err := c.Read(t.Context(), tc.names...)
		var told *client.Error
		if (err == nil) != tc.well || !tc.well && (!errors.As(err, &told) || told.Status/100 != 4 || len(told.Detail) > 300) {
			t.Errorf("%d of %.10q: %v", len(tc.names), tc.names[0], err)
		}
	}
}

// No answer has a character in it that a terminal obeys, whoever it came from.
func TestAnswersArePlain(t *testing.T) {
	const text = "\x1b[2J\u009b2J\u202eabc\u2066\x7f\u061c é"
	f := &fake{err: errors.New(text), ended: make(chan error, 1), samples: []client.Sample{
		{Link: text, Device: "d", Point: "p", Value: driver.StringValue(text), Time: epoch, Fault: &client.Fault{Code: "internal", Text: text}}}}
	_, socket := serve(t, f)
	var d net.Dialer
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}}
	for _, path := range []string{"/v1/samples", "/v1/reload", "/v1/samples?for=%C2%9B%E2%80%AE", "/v1/points?pattern=%E2%80%AE%5B"} {
		var answer *http.Response
		var err error
		if path == "/v1/reload" {
			answer, err = h.Post("http://gateway"+path, "application/json", nil)
		} else {
			answer, err = h.Get("http://gateway" + path)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || len(got) == 0 || strings.ContainsFunc(strings.TrimSpace(string(got)), client.Obeyed) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		var whole map[string]any
		if err := json.Unmarshal(got, &whole); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if path == "/v1/samples" && whole["value"] != text || path == "/v1/reload" && whole["detail"] != text {
			t.Errorf("%s: the text changed: %v", path, whole)
		}
	}
}
