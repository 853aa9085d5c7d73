package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fieldloom/fieldloom/core/client"
)

// stream answers what f passes to each, one line of JSON at a time, as it happens.
// An error of f before the first line is a problem as of any other request; after it the
// header is out, and f tells errors in its lines.
func stream[T any](f func(ctx context.Context, each func(T) error) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		if refuseHead(hctx, w) {
			return
		}
		control := http.NewResponseController(w)
		begun := false
		err := f(hctx.Context(), func(v T) error {
			if !begun {
				begun = true
				w.Header().Set("Content-Type", lines)
			}
			line, err := json.Marshal(v)
			if err != nil {
				return err
			}
			if _, err := w.Write(append(client.PlainJSON(line), '\n')); err != nil {
				return err
			}
			return control.Flush()
		})
		switch {
		case begun:
		case err != nil && hctx.Context().Err() == nil:
			writeProblem(w, err)
		default:
			w.Header().Set("Content-Type", lines)
			w.WriteHeader(http.StatusOK)
		}
	}}
}

// writeProblem writes err as a problem document, past huma.
func writeProblem(w http.ResponseWriter, err error) {
	p := problemFrom(err)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	text, _ := json.Marshal(p)                           // texts and numbers always marshal
	_, _ = w.Write(append(client.PlainJSON(text), '\n')) // the caller may have gone
}

// refuseHead refuses a HEAD, which net/http passes on as a GET. A stream may have no end, and one
// of which nothing is sent would keep the caller's next request on the connection waiting.
func refuseHead(hctx huma.Context, w http.ResponseWriter) bool {
	if hctx.Method() != http.MethodHead {
		return false
	}
	w.Header().Set("Allow", http.MethodGet)
	writeProblem(w, &client.Error{Status: http.StatusMethodNotAllowed, Code: "bad-request", Detail: "a stream has no head: use GET"})
	return true
}
