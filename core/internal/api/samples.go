package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fieldloom/fieldloom/core/client"
)

// lines is the media type of newline-delimited JSON.
const lines = "application/x-ndjson"

type samplesInput struct {
	Pattern []string  `query:"pattern,explode" doc:"LINK/DEVICE/POINT globs; LINK and LINK/DEVICE match all below them"`
	Last    bool      `query:"last" doc:"Begin with the last value of every point: lines with \"last\", which are not of the stream"`
	After   string    `query:"after" doc:"Go on after this position, which a line of an earlier stream has: nothing is missing and nothing comes twice" example:"1204.17"`
	Since   time.Time `query:"since" doc:"Send what was stored from this time on first, then go on live"`
	Replay  bool      `query:"replay" doc:"End when all that is stored has been sent"`
	For     string    `query:"for" doc:"End so long after the stream is up to date" example:"10s"`
}

func registerSamples(a huma.API, samples Samples) {
	op := operation(http.MethodGet, "/v1/samples", "samples", "Stream samples, one a line, until the caller goes", http.StatusBadRequest)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Samples, one a line. A line with the code \"lost\" says that samples are missing. A stream that is cut off, and not ended, " +
			"is to be asked for again after the position of its last line; the header has the position that it begins after.",
		Headers: map[string]*huma.Param{client.PositionHeader: {Schema: &huma.Schema{Type: huma.TypeString}, Description: "The position that the stream begins after"}},
		Content: map[string]*huma.MediaType{lines: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Sample](), true, "Sample")}},
	}}
	huma.Register(a, op, func(ctx context.Context, in *samplesInput) (*huma.StreamResponse, error) {
		o := client.WatchOptions{Patterns: in.Pattern, Last: in.Last, Since: in.Since, Replay: in.Replay}
		var err error
		if o.After, err = client.ParsePosition(in.After); err != nil {
			return nil, badRequest("after=" + shorten(in.After) + ": give a position as a line of samples has it, such as 1204.17")
		}
		if !o.After.IsZero() && !o.Since.IsZero() {
			return nil, badRequest("after and since both say where to begin: give one")
		}
		if in.For != "" {
			if o.For, err = time.ParseDuration(in.For); err != nil || o.For <= 0 {
				return nil, badRequest("for=" + shorten(in.For) + ": use a time like 10s or 5m")
			}
		}
		if err := checkPatterns(in.Pattern); err != nil {
			return nil, err
		}
		return sampleStream(func(ctx context.Context, to Sink) error { return samples.Watch(ctx, o, to) }), nil
	})
}

type valuesInput struct {
	Pattern []string `query:"pattern,explode" doc:"LINK/DEVICE/POINT globs; LINK and LINK/DEVICE match all below them"`
}

func registerValues(a huma.API, samples Samples) {
	op := operation(http.MethodGet, "/v1/values", "values", "The last value of each point, one a line, without asking the devices",
		http.StatusBadRequest, http.StatusNotFound)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The last values, in the order of the configuration. Each has \"last\"; one of which nothing is known has no time.",
		Content:     map[string]*huma.MediaType{lines: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Sample](), true, "Sample")}},
	}}
	huma.Register(a, op, func(_ context.Context, in *valuesInput) (*huma.StreamResponse, error) {
		if err := checkPatterns(in.Pattern); err != nil {
			return nil, err
		}
		return sampleStream(func(ctx context.Context, to Sink) error { return samples.Values(ctx, in.Pattern, to) }), nil
	})
}

// sampleStream answers the samples that send sends.
func sampleStream(send func(ctx context.Context, to Sink) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hctx huma.Context) { streamSamples(hctx, send) }}
}

// streamSamples sends samples until the watcher goes or has all that it asked for. Where it ends
// before that it is cut off, so that a watcher can tell: the header is out, and an error
// has nowhere else to go.
func streamSamples(hctx huma.Context, send func(ctx context.Context, to Sink) error) {
	_, w := humago.Unwrap(hctx)
	if refuseHead(hctx, w) {
		return
	}
	hctx.SetHeader("Content-Type", lines)
	sink := &lineSink{w: w, control: http.NewResponseController(w), buffer: make([]byte, 0, sinkBytes+sinkBytes/8), dirty: true}
	err := send(hctx.Context(), sink)
	if err != nil && !sink.begun && len(sink.buffer) == 0 && hctx.Context().Err() == nil {
		writeProblem(w, err)
		return
	}
	if flushed := sink.Flush(); err != nil || flushed != nil {
		panic(http.ErrAbortHandler)
	}
}

// sinkBytes is how much a sink gathers before it writes.
const sinkBytes = 64 << 10

// lineSink writes samples as lines of JSON.
type lineSink struct {
	w       http.ResponseWriter
	control *http.ResponseController
	encoder client.Encoder
	buffer  []byte
	begun   bool // the header is out
	dirty   bool // something was written since the last flush
}

// Begin implements Sink.
func (l *lineSink) Begin(after client.Position) {
	if !after.IsZero() {
		l.w.Header().Set(client.PositionHeader, after.String())
	}
	l.w.WriteHeader(http.StatusOK)
	l.begun = true
}

// Sample implements Sink.
func (l *lineSink) Sample(s *client.Sample) error {
	l.buffer = append(l.encoder.Append(l.buffer, s), '\n')
	if len(l.buffer) < sinkBytes {
		return nil
	}
	return l.write()
}

func (l *lineSink) write() error {
	l.begun, l.dirty = true, true
	_, err := l.w.Write(l.buffer)
	l.buffer = l.buffer[:0]
	if cap(l.buffer) > 4*sinkBytes { // of one long text
		l.buffer = make([]byte, 0, sinkBytes+sinkBytes/8)
	}
	return err
}

// Flush implements Sink.
func (l *lineSink) Flush() error {
	if len(l.buffer) > 0 {
		if err := l.write(); err != nil {
			return err
		}
	}
	if !l.dirty {
		return nil
	}
	l.dirty = false
	return l.control.Flush()
}
