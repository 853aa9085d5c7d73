package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

func TestPositionsAsText(t *testing.T) {
	for text, want := range map[string]client.Position{"": {}, "0": {Sample: client.WholeRecord}, "1204": {Record: 1204, Sample: client.WholeRecord}, "1204.17": {Record: 1204, Sample: 17}} {
		got, err := client.ParsePosition(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v as text %q, %v", text, got, got.String(), err)
		}
	}
	for _, text := range []string{"x", "1.", ".1", "1.0", "-1", "1.2.3", "18446744073709551615", "1.4294967296", " 1"} {
		if p, err := client.ParsePosition(text); err == nil {
			t.Errorf("%q is taken for %+v", text, p)
		}
	}
}

// A Line has what a Sample has, whatever the texts are.
func TestALineHasWhatTheSampleHas(t *testing.T) {
	for _, text := range []string{"", "plain", `a"b\c`, "\",\"position\":\"9.9\"", "{[,}]", "ü\u2028\x01", `\`, `\\`, `\"`} {
		s := client.Sample{Link: "l" + text, Device: "d" + text, Point: text, Value: driver.StringValue(text), Unit: text, Quality: driver.Uncertain, Time: at,
			Fault: &client.Fault{Code: "lost", Text: text}, Last: &client.Last{Since: at, Good: driver.StringValue(text), GoodTime: at.Add(time.Hour)},
			Stored: at.Add(time.Second), Position: client.Position{Record: 7, Sample: 3}}
		var l client.Line
		if err := l.Parse(s.AppendJSON(nil)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		value, _ := client.Text(l.Value)
		since, good, goodTime := l.LastOf()
		good, _ = client.Text(good)
		got := []string{string(l.Link), string(l.Device), string(l.Point), string(value), string(l.Unit), string(l.Quality), string(l.Time), string(l.Fault),
			string(since), string(good), string(goodTime), string(l.Stored), string(l.Position)}
		want := []string{"l" + text, "d" + text, text, text, text, "uncertain", "2026-01-02T02:04:05.000000060Z", "lost: " + text,
			"2026-01-02T02:04:05.000000060Z", text, "2026-01-02T03:04:05.000000060Z", "2026-01-02T02:04:06.000000060Z", "7.3"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestLinesThatAreNone(t *testing.T) {
	for _, line := range []string{"", "{", "x", `{"a"`, `{"a":`, `{"a":1`, `{"a":"`, `{"a":{"b":1}`, `{"a":1}x`, `{"link":"\q"}`} {
		if err := new(client.Line).Parse([]byte(line)); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

// serveLines answers a stream of samples in pieces that end anywhere, and cuts it off.
func serveLines(t *testing.T, header string, cut bool, pieces ...string) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(client.PositionHeader, header)
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for _, p := range pieces {
			_, _ = w.Write([]byte(p))
			_ = http.NewResponseController(w).Flush()
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c := client.New(socket)
	t.Cleanup(func() {
		c.Close()
		_ = server.Close()
		<-served
	})
	return c
}

func TestLinesPassesWholeLinesOnAndKnowsWhereToGoOn(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	a := `{"point":"a","position":"5.1"}` + "\n"
	b := `{"point":"` + long + `","position":"5.2"}` + "\n"
	for name, test := range map[string]struct {
		pieces []string
		want   string
		at     string
	}{
		"nothing":              {nil, "", "4"},
		"half a line":          {[]string{a[:9]}, "", "4"},
		"a line in two":        {[]string{a[:9], a[9:]}, a, "5.1"},
		"a line and a half":    {[]string{a + a[:20]}, a, "5.1"},
		"a long one":           {[]string{a + b[:1000], b[1000:], "{}\n"}, a + b + "{}\n", "5.2"},
		"a position in a text": {[]string{`{"value":"\",\"position\":\"9.9\"","position":"5.3"}` + "\n"}, `{"value":"\",\"position\":\"9.9\"","position":"5.3"}` + "\n", "5.3"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serveLines(t, "4", true, test.pieces...)
			var got strings.Builder
			at, err := c.Lines(t.Context(), client.WatchOptions{}, func(lines []byte) error {
				if lines[len(lines)-1] != '\n' {
					t.Errorf("%.50q is no whole line", lines)
				}
				_, _ = got.Write(lines)
				return nil
			})
			if got.String() != test.want || at.String() != test.at || !errors.Is(err, client.ErrUnreachable) {
				t.Errorf("%d bytes, want %d; goes on after %v, want %s; %v", got.Len(), len(test.want), at, test.at, err)
			}
		})
	}
}

func TestAStreamThatIsCutOffIsNoStreamThatHasEnded(t *testing.T) {
	for _, cut := range []bool{false, true} {
		c := serveLines(t, "4", cut, `{"point":"a","quality":"good"}`+"\n")
		_, err := c.Lines(t.Context(), client.WatchOptions{Replay: true}, func([]byte) error { return nil })
		if errors.Is(err, client.ErrUnreachable) != cut {
			t.Errorf("cut %v: Lines ends with %v", cut, err)
		}
		for _, last := range c.Watch(t.Context(), client.WatchOptions{Replay: true}) {
			err = last
		}
		if errors.Is(err, client.ErrUnreachable) != cut {
			t.Errorf("cut %v: Watch ends with %v", cut, err)
		}
	}
}

// What an Encoder keeps of one sample shows in no other.
func TestAnEncoderRepeatsNothing(t *testing.T) {
	var e client.Encoder
	for _, nanos := range []int{0, 1, 999_999_999, 10, 10, 5_000_000} {
		for _, second := range []int64{0, 0, 1, -1, 253402300800} {
			for _, name := range []string{"a", "a", "b\"", ""} {
				s := client.Sample{Link: name, Device: "x" + name, Time: time.Unix(second, int64(nanos)), Stored: time.Unix(second+7, int64(nanos))}
				if got, want := string(e.Append(nil, &s)), string(s.AppendJSON(nil)); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			}
		}
	}
}

// TestAnswersThatAreLost has a command's answer lost in every way, and demands that it is
// told as one that may have been done; and as not sent where no gateway is there.
func TestAnswersThatAreLost(t *testing.T) {
	write := func(ctx context.Context, c *client.Client) error {
		_, err := c.Write(ctx, client.WriteRequest{Point: "l/d/p", Value: json.RawMessage("1")})
		return err
	}
	arrived := make(chan struct{}, 1)
	for name, h := range map[string]http.HandlerFunc{
		"died before the answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"died in the answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"point"`))
			panic(http.ErrAbortHandler)
		},
		"a proxy's 502": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"not known either": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(504)
			_, _ = w.Write([]byte(`{"code":"unconfirmed","detail":"d"}`))
		},
		"the caller leaves": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			arrived <- struct{}{}
			<-r.Context().Done()
		},
	} {
		c := answering(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if name == "the caller leaves" {
			go func() { <-arrived; cancel() }()
		}
		err := write(ctx, c)
		if !errors.Is(err, client.ErrUnconfirmed) || errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := client.New(filepath.Join(t.TempDir(), "none"))
	defer gone.Close()
	if err := write(t.Context(), gone); !errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrUnconfirmed) {
		t.Errorf("no gateway: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := write(ctx, gone); err == nil || errors.Is(err, client.ErrUnconfirmed) || errors.Is(err, context.Canceled) {
		t.Errorf("a command that was given up before it was sent: %v", err) // Canceled would be exit code 0
	}
	refused := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"code":"not-connected","detail":"not written"}`))
	})
	if err := write(t.Context(), refused); err == nil || errors.Is(err, client.ErrUnconfirmed) {
		t.Errorf("not sent: %v", err)
	}
}

// What would be written as another number is refused.
func TestValuesThatWouldBeOthers(t *testing.T) {
	for _, text := range []string{"1e999", "-1e999", "1e-999", "-0.0000001e-400", "1e", "[1]", "{}"} {
		if v, err := client.ValueOf([]byte(text)); err == nil {
			t.Errorf("%s was taken as %v", text, v)
		}
	}
	for text, want := range map[string]driver.Value{
		"0": driver.Int64Value(0), "-0.0e10": driver.Float64Value(math.Copysign(0, -1)), "1e-300": driver.Float64Value(1e-300),
		`"1e999"`: driver.StringValue("1e999"),
	} {
		if v, err := client.ValueOf([]byte(text)); err != nil || !v.Equal(want) {
			t.Errorf("%s is %v, %v", text, v, err)
		}
	}
}
