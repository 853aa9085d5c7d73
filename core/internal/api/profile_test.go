package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/api"
)

func TestProfiles(t *testing.T) {
	c, _ := serve(t, &fake{})
	for _, kind := range []string{"cpu", "mutex", "block", "trace", "heap", "allocs", "goroutine"} {
		var long time.Duration
		if kind == "cpu" || kind == "mutex" || kind == "block" || kind == "trace" {
			long = 20 * time.Millisecond
		}
		var b bytes.Buffer
		if err := c.Profile(t.Context(), kind, long, &b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		begins := "\x1f\x8b" // gzip
		if kind == "trace" {
			begins = "go "
		}
		if !bytes.HasPrefix(b.Bytes(), []byte(begins)) {
			t.Errorf("%s: %d bytes, which begin with %.10q", kind, b.Len(), b.Bytes())
		}
	}
}

func TestProfilesThatAreRefused(t *testing.T) {
	h := api.Handler((&fake{}).services())
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/v1/profiles/cmdline", 422},
		{"GET", "/v1/profiles/cpu?for=61s", 400},
		{"GET", "/v1/profiles/cpu?for=-1s", 400},
		{"GET", "/v1/profiles/cpu?for=x", 400},
		{"GET", "/v1/profiles/heap?for=1s", 400},
		{"HEAD", "/v1/profiles/cpu", 405},
		{"POST", "/v1/profiles/cpu", 405},
		{"GET", "/debug/pprof/", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, nil))
		if w.Code != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.target, w.Code, w.Body, c.status)
		}
	}
}

// One profile is gathered at a time, and one whose caller goes ends.
func TestOneProfileAtATime(t *testing.T) {
	c, _ := serve(t, &fake{})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		var e *client.Error
		for { // what looks for its beginning, below, may be gathered at this moment
			err := c.Profile(ctx, "cpu", time.Minute, new(bytes.Buffer))
			if !errors.As(err, &e) {
				first <- err
				return
			}
		}
	}()
	var e *client.Error
	for { // until the first has begun
		err := c.Profile(t.Context(), "trace", time.Millisecond, new(bytes.Buffer))
		if errors.As(err, &e) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if e.Status != http.StatusConflict {
		t.Errorf("beside another: %v", e)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	for { // until its end has come to the gateway
		err := c.Profile(t.Context(), "cpu", time.Millisecond, new(bytes.Buffer))
		if err == nil {
			return
		} else if !errors.As(err, &e) {
			t.Fatal(err)
		}
	}
}
