package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Explorer finds out what is there, by asking it.
type Explorer interface {
	Browse(ctx context.Context, name, prefix string) ([]client.Found, error)
	// Discover calls each after every candidate of a link.
	Discover(ctx context.Context, o client.DiscoverOptions, each func(client.Discovery) error) error
}

type browseInput struct {
	Of     string `query:"of" required:"true" doc:"LINK/DEVICE, or LINK/DEVICE/POINT for its readings" example:"line1/meter"`
	Prefix string `query:"prefix" doc:"The address below which is listed" example:"holding:100"`
}

type discoverInput struct {
	Link    string `query:"link" required:"true" example:"line1"`
	Within  string `query:"within" doc:"Where to look, in the driver's words; without: wherever a device may be" example:"1-32,100"`
	Timeout string `query:"timeout" doc:"For each candidate; without: the link's, which is the most" example:"100ms"`
}

// registerExplorer offers to find addresses and devices. Both ask devices, as a read does.
func registerExplorer(a huma.API, e Explorer) {
	huma.Register(a, operation(http.MethodGet, "/v1/browse", "browse", "What a device has, or the ways in which an address may be read",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		func(ctx context.Context, in *browseInput) (*answer[client.FoundList], error) {
			found, err := e.Browse(ctx, in.Of, in.Prefix)
			return &answer[client.FoundList]{client.FoundList{Found: found}}, problemOf(err)
		})
	op := operation(http.MethodPost, "/v1/discover", "discover", "Look for devices on a link, one candidate after the other, between its polls; nothing is written",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A line for each candidate, as it was asked. It is whole when done is as much as of; a last line with \"error\" says why it is not. " +
			"Whoever goes ends it.",
		Content: map[string]*huma.MediaType{lines: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Discovery](), true, "Discovery")}},
	}}
	huma.Register(a, op,
		func(_ context.Context, in *discoverInput) (*huma.StreamResponse, error) {
			o := client.DiscoverOptions{Link: in.Link, Within: in.Within}
			if in.Timeout != "" {
				var err error
				if o.Timeout, err = time.ParseDuration(in.Timeout); err != nil || o.Timeout <= 0 {
					return nil, badRequest("timeout=" + shorten(in.Timeout) + ": use a time like 100ms or 1s")
				}
			}
			return stream(func(ctx context.Context, each func(client.Discovery) error) error {
				begun := false
				err := e.Discover(ctx, o, func(d client.Discovery) error {
					begun = true
					return each(d)
				})
				if err == nil || !begun || ctx.Err() != nil {
					return err
				}
				fault := driver.AsError(err)
				return each(client.Discovery{Error: &client.Problem{Code: fault.Code.String(), Detail: fault.Text}})
			}), nil
		})
}
