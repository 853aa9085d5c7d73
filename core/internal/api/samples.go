package api

import (
	"bufio"
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
	Since   time.Time `query:"since" doc:"Send what was stored from this time on first, then go on live"`
	Replay  bool      `query:"replay" doc:"End when all that is stored has been sent"`
	For     string    `query:"for" doc:"End so long after the stream is up to date" example:"10s"`
}

func (s *service) registerSamples(a huma.API) {
	op := operation(http.MethodGet, "/v1/samples", "samples", "Stream samples, one a line, until the caller goes", http.StatusBadRequest)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Samples, one a line. A line with the code \"lost\" says that samples are missing.",
		Content:     map[string]*huma.MediaType{lines: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Sample](), true, "Sample")}},
	}}
	huma.Register(a, op, func(ctx context.Context, in *samplesInput) (*huma.StreamResponse, error) {
		o := client.WatchOptions{Patterns: in.Pattern, Since: in.Since, Replay: in.Replay}
		if in.For != "" {
			var err error
			if o.For, err = time.ParseDuration(in.For); err != nil || o.For <= 0 {
				return nil, badRequest("for=" + in.For + ": use a time like 10s or 5m")
			}
		}
		if err := checkPatterns(in.Pattern); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { s.stream(hctx, o) }}, nil
	})
}

// stream sends samples until the watcher goes. Its error has nowhere to go: the
// header is out, and a watcher that has gone needs none.
func (s *service) stream(hctx huma.Context, o client.WatchOptions) {
	_, w := humago.Unwrap(hctx)
	hctx.SetHeader("Content-Type", lines)
	hctx.SetStatus(http.StatusOK)
	sink := &lineSink{to: bufio.NewWriterSize(w, 32<<10), control: http.NewResponseController(w)}
	_ = s.gw.Watch(hctx.Context(), o, sink)
	_ = sink.Flush()
}

// lineSink writes samples as lines of JSON.
type lineSink struct {
	to      *bufio.Writer
	control *http.ResponseController
	line    []byte
}

func (l *lineSink) Sample(s *client.Sample) error {
	l.line = append(s.AppendJSON(l.line[:0]), '\n')
	_, err := l.to.Write(l.line)
	return err
}

func (l *lineSink) Flush() error {
	if err := l.to.Flush(); err != nil {
		return err
	}
	return l.control.Flush()
}
