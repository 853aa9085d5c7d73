package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 2, 3, 4, 5, 60, time.FixedZone("", 3600))

func TestSampleIsExactlyOneLine(t *testing.T) {
	for _, test := range []struct {
		sample client.Sample
		want   string
	}{
		{client.Sample{Link: "l", Device: "d", Point: "p", Value: driver.Float64Value(230.1), Quality: driver.Good, Time: at},
			`{"link":"l","device":"d","point":"p","value":230.1,"quality":"good","time":"2026-01-02T02:04:05.000000060Z"}`},
		{client.Sample{Link: "l", Device: "d", Point: "p", Value: driver.StringValue("a\nb\"c"), Quality: driver.Uncertain, Time: at},
			`{"link":"l","device":"d","point":"p","value":"a\nb\"c","quality":"uncertain","time":"2026-01-02T02:04:05.000000060Z"}`},
		{client.Sample{Link: "l", Device: "d", Point: "p", Time: at, Fault: &client.Fault{Code: "timeout", Text: "no answer"}},
			`{"link":"l","device":"d","point":"p","value":null,"quality":"bad","time":"2026-01-02T02:04:05.000000060Z",` +
				`"fault":"timeout: no answer"}`},
		{client.Sample{Link: "l", Quality: driver.Good, Time: at, Fault: &client.Fault{Code: "ok"}},
			`{"link":"l","device":"","point":"","value":null,"quality":"good","time":"2026-01-02T02:04:05.000000060Z"}`},
	} {
		if got := string(test.sample.AppendJSON(nil)); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

func TestSampleSurvivesJSON(t *testing.T) {
	for _, v := range []driver.Value{
		{}, driver.BoolValue(true), driver.Int64Value(math.MinInt64), driver.Uint64Value(math.MaxUint64),
		driver.Float64Value(1.25e-9), driver.StringValue("true"), driver.StringValue("12"), driver.StringValue(""),
	} {
		want := client.Sample{Link: "l", Device: "d", Point: "p", Value: v, Quality: driver.Bad, Time: at.UTC(), Fault: &client.Fault{Code: "x", Text: "y"}}
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got client.Sample
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(driver.Value.Equal)); diff != "" {
			t.Errorf("%s\n%s", line, diff)
		}
	}
}

func FuzzSample(f *testing.F) {
	f.Add([]byte(`{"link":"l","device":"d","point":"p","value":1e5,"quality":"good","time":"2026-01-02T02:04:05.00000006Z"}`))
	f.Add([]byte(`{"value":{"a":[1]},"quality":"bad"}`))
	f.Add([]byte(`{"value":"\ud800","quality":"bad","fault":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var first, second client.Sample
		if json.Unmarshal(line, &first) != nil {
			return
		}
		again := first.AppendJSON(nil)
		if !json.Valid(again) {
			t.Fatalf("%q became %q", line, again)
		}
		if first.Time.Year() > 9999 || first.Time.UTC().Year() > 9999 || first.Time.UTC().Year() < 0 {
			return // JSON's times end there
		}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatalf("%q became %q: %v", line, again, err)
		}
	})
}

// answering serves every request with h on a socket of the test.
func answering(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	c := client.New(socket)
	t.Cleanup(func() { c.Close(); _ = server.Close(); <-done })
	return c
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"plain text", "boom", "the gateway answered 500 Internal Server Error: boom"},
		{"another's problem", `{"detail":"validation failed","errors":[{"message":"expected array","location":"body.points"}]}`,
			"validation failed:\n  body.points: expected array"},
		{"odd errors", `{"detail":"d","errors":[7]}`, "d:\n  7"},
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(test.body))
		})
		_, err := c.Health(t.Context())
		var e *client.Error
		if !errors.As(err, &e) || err.Error() != test.want || e.Code != "internal" {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) })
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "/v1/status") {
		t.Errorf("half an answer: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	c := client.New(socket)
	defer c.Close()
	_, err := c.Health(t.Context())
	if !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), socket) || !strings.Contains(err.Error(), "fieldloom run") {
		t.Errorf("got %v: it should say which socket and what to do", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Health(canceled); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("canceled: %v", err)
	}
}

func TestWatchReportsABrokenStreamOnce(t *testing.T) {
	for _, test := range []struct{ name, body string }{
		{"garbage", `{"link":"l","quality":"good","time":"2026-01-02T02:04:05Z"}` + "\n{garbage\n"},
		{"unknown quality", `{"link":"l","quality":"good","time":"2026-01-02T02:04:05Z"}` + "\n" + `{"quality":"so-so"}` + "\n"},
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(test.body)) })
		var good, bad int
		for _, err := range c.Watch(t.Context(), client.WatchOptions{}) {
			if err != nil {
				bad++
			} else {
				good++
			}
		}
		if good != 1 || bad != 1 {
			t.Errorf("%s: %d samples and %d errors, want one each", test.name, good, bad)
		}
	}
}
