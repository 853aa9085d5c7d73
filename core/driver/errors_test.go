package driver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestCodeOf(t *testing.T) {
	busy := &driver.Error{Code: driver.Busy, Text: "later", After: time.Minute}
	var none *driver.Error
	for _, test := range []struct {
		err  error
		want driver.Code
	}{
		{nil, driver.OK},
		{none, driver.OK},
		{busy, driver.Busy},
		{fmt.Errorf("unit 3: %w", busy), driver.Busy},
		{fmt.Errorf("unit 3: %w", none), driver.Internal},
		{context.DeadlineExceeded, driver.Timeout},
		{os.ErrDeadlineExceeded, driver.Timeout},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, driver.Timeout},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, driver.NotConnected},
		{io.EOF, driver.NotConnected},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), driver.NotConnected},
		{net.ErrClosed, driver.NotConnected},
		{&driver.ConfigError{Text: "x"}, driver.InvalidConfig},
		{errors.Join(errors.New("x"), &driver.ConfigError{Text: "x"}), driver.InvalidConfig},
		{errors.New("anything"), driver.Internal},
	} {
		if got := driver.CodeOf(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

func TestAsError(t *testing.T) {
	busy := &driver.Error{Code: driver.Busy, Text: "later", After: time.Minute}
	if driver.AsError(busy) != busy {
		t.Error("an Error is not taken as it is")
	}
	wrapped := driver.AsError(fmt.Errorf("unit 3: %w", busy))
	if want := (&driver.Error{Code: driver.Busy, Text: "unit 3: later", After: time.Minute}); !cmp.Equal(wrapped, want) {
		t.Errorf("wrapped: %+v", wrapped)
	}
	var none *driver.Error
	if driver.AsError(nil) != nil || driver.AsError(none) != nil {
		t.Error("no error became one")
	}
	if e := driver.AsError(fmt.Errorf("unit 3: %w", none)); e == nil || e.Code != driver.Internal {
		t.Errorf("a wrapped nil: %+v", e)
	}
}

func TestErrorfWraps(t *testing.T) {
	err := driver.Errorf(driver.NotConnected, "open %s: %w", "x", io.EOF)
	if err.Error() != "open x: EOF" || !errors.Is(err, io.EOF) || driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("%+v", err)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for c := driver.OK; c <= driver.Lost; c++ {
		if name := c.String(); seen[name] || strings.Contains(name, "(") {
			t.Errorf("code %d is %q", c, name)
		} else {
			seen[name] = true
		}
	}
	for _, s := range []fmt.Stringer{driver.Lost + 1, driver.Good + 1, driver.KindBytes + 1} {
		if !strings.Contains(s.String(), "(") {
			t.Errorf("one more is %q", s)
		}
	}
	for _, q := range []driver.Quality{driver.Bad, driver.Uncertain, driver.Good} {
		if got, err := driver.ParseQuality(q.String()); err != nil || got != q {
			t.Errorf("%v: %v, %v", q, got, err)
		}
	}
	if _, err := driver.ParseQuality("fine"); err == nil {
		t.Error("there is no quality fine")
	}
	if s := (driver.Sample{}); s.Quality != driver.Bad {
		t.Error("the zero sample is not Bad")
	}
}

func TestConfigErrors(t *testing.T) {
	one := &driver.ConfigError{Device: "d", Point: "p", Key: "address", Text: "wrong"}
	two := &driver.ConfigError{Text: "also wrong"}
	got := driver.ConfigErrors(fmt.Errorf("link l: %w", errors.Join(one, nil, errors.Join(two))))
	if len(got) != 2 || got[0] != one || got[1] != two {
		t.Errorf("%v", got)
	}
	if one.Error() != "device d: point p: key address: wrong" || two.Error() != "also wrong" {
		t.Errorf("%q, %q", one, two)
	}
	if plain := driver.ConfigErrors(errors.New("x")); len(plain) != 1 || plain[0].Text != "x" {
		t.Errorf("%v", plain)
	}
	if driver.ConfigErrors(nil) != nil {
		t.Error("no error gave a fault")
	}
}

// With a place an error is told by the place, without one by the names.
func TestConfigErrorText(t *testing.T) {
	for _, tc := range []struct {
		e    driver.ConfigError
		want string
	}{
		{driver.ConfigError{Text: "wrong"}, "wrong"},
		{driver.ConfigError{Link: "l", Key: "url", Text: "wrong"}, "link l: key url: wrong"},
		{driver.ConfigError{Link: "l", Text: "wrong", Place: driver.Place{File: "a.yaml", Line: 3, Column: 7, Path: "links.l"}}, "a.yaml:3:7: links.l: wrong"},
		{driver.ConfigError{Text: "wrong", Place: driver.Place{File: "a.yaml"}}, "a.yaml: wrong"},
		{driver.ConfigError{Text: "wrong", Place: driver.Place{Path: "links.l"}}, "links.l: wrong"},
	} {
		if got := tc.e.Error(); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.e, got, tc.want)
		}
	}
}

type settings struct {
	URL    string `json:"url"`
	Window int    `json:"window"`
}

func TestDecodeSettings(t *testing.T) {
	for text, want := range map[string]string{
		``:                         "",
		` `:                        "",
		`{"url":"x","window":2}`:   "",
		`{"url":"x","windov":2}`:   `unknown field "windov"`,
		`{"window":"2"}`:           "window",
		`{"url":"x"} {}`:           "followed by more data",
		`{"url":`:                  "unexpected EOF",
		`[]`:                       "array",
		`{"url":"x","window":1.5}`: "window",
	} {
		s := settings{Window: 1}
		err := driver.DecodeSettings([]byte(text), &s)
		if want == "" {
			if err != nil || s.Window == 0 {
				t.Errorf("%s: %v, %+v", text, err, s)
			}
			continue
		}
		if driver.CodeOf(err) != driver.InvalidConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzDecodeSettings gives settings from anywhere.
func FuzzDecodeSettings(f *testing.F) {
	f.Add([]byte(`{"url":"x","window":2}`))
	f.Add([]byte(`{"url":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s settings
		if err := driver.DecodeSettings(data, &s); err != nil && driver.CodeOf(err) != driver.InvalidConfig {
			t.Errorf("%q: %v", data, err)
		}
	})
}
