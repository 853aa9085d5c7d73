package api

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fieldloom/fieldloom/core/client"
)

const (
	// maxProfile bounds how long a profile is gathered, and usualProfile is how long it is
	// where nothing is said.
	maxProfile   = time.Minute
	usualProfile = 10 * time.Second
	// mutexRate is one of how many waits for a lock are looked at, and blockRate the time in ns
	// for each of which one wait is.
	mutexRate = 10
	blockRate = 10_000
)

// gathered are the profiles that are gathered over a time, each by one who begins it and
// returns how it ends. The others are of a moment.
var gathered = map[string]func(w io.Writer) (end func() error, err error){
	"cpu": func(w io.Writer) (func() error, error) {
		return func() error { pprof.StopCPUProfile(); return nil }, pprof.StartCPUProfile(w)
	},
	"trace": func(w io.Writer) (func() error, error) {
		return func() error { trace.Stop(); return nil }, trace.Start(w)
	},
	"mutex": func(w io.Writer) (func() error, error) {
		before := runtime.SetMutexProfileFraction(mutexRate)
		return func() error {
			defer runtime.SetMutexProfileFraction(before)
			return pprof.Lookup("mutex").WriteTo(w, 0)
		}, nil
	},
	"block": func(w io.Writer) (func() error, error) {
		runtime.SetBlockProfileRate(blockRate)
		return func() error {
			defer runtime.SetBlockProfileRate(0)
			return pprof.Lookup("block").WriteTo(w, 0)
		}, nil
	},
}

// profiling is set while one is gathered: the runtime gathers one of a kind at a time, and
// two disturb each other.
var profiling atomic.Bool

type profileInput struct {
	Kind string `path:"kind" enum:"cpu,trace,mutex,block,heap,allocs,goroutine"`
	For  string `query:"for" doc:"How long cpu, trace, mutex and block are gathered, at most 1m; 10s where it is left out" example:"1s"`
}

// registerProfiles offers what the Go runtime knows of the gateway itself. It changes nothing,
// costs some percent while it is gathered, and is for people, as all of the API.
func registerProfiles(a huma.API) {
	const binary = "application/octet-stream"
	op := operation(http.MethodGet, "/v1/profiles/{kind}", "profile", "A profile of the gateway's own process, for go tool pprof; of trace, for go tool trace",
		http.StatusBadRequest, http.StatusConflict)
	op.Responses = map[string]*huma.Response{"200": {Description: "The profile", Content: map[string]*huma.MediaType{
		binary: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
	huma.Register(a, op, func(_ context.Context, in *profileInput) (*huma.StreamResponse, error) {
		long := usualProfile
		if in.For != "" {
			var err error
			if long, err = time.ParseDuration(in.For); err != nil || long <= 0 || long > maxProfile {
				return nil, badRequest("for=" + shorten(in.For) + ": use a time of at most 1m, like 10s")
			}
		}
		begin, ok := gathered[in.Kind]
		if !ok && in.For != "" {
			return nil, badRequest("for: the profile " + in.Kind + " is of a moment")
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			_, w := humago.Unwrap(hctx)
			if refuseHead(hctx, w) {
				return
			}
			w.Header().Set("Content-Type", binary)
			if !ok {
				_ = pprof.Lookup(in.Kind).WriteTo(w, 0) // the caller may have gone
				return
			}
			if err := gather(hctx.Context(), w, begin, long); err != nil {
				writeProblem(w, err)
			}
		}}, nil
	})
}

// gather gathers a profile until it is over or the caller goes. An error is one before the
// first byte.
func gather(ctx context.Context, w io.Writer, begin func(io.Writer) (func() error, error), long time.Duration) error {
	if !profiling.CompareAndSwap(false, true) {
		return &client.Error{Status: http.StatusConflict, Code: "busy", Detail: "another profile is gathered: try again when it is done, in at most a minute"}
	}
	defer profiling.Store(false)
	end, err := begin(w)
	if err != nil {
		return &client.Error{Status: http.StatusConflict, Code: "busy", Detail: "another profile is gathered by other means: " + err.Error()}
	}
	over := time.NewTimer(long)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
	_ = end() // the caller may have gone
	return nil
}
