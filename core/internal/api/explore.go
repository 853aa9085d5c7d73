package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Explorer finds out what is there, by asking it.
type Explorer interface {
	Browse(ctx context.Context, name, prefix string) ([]client.Found, error)
	// Discover calls each after every candidate of a link.
	Discover(ctx context.Context, link string, each func(client.Discovery) error) error
}

type browseInput struct {
	Of     string `query:"of" required:"true" doc:"LINK/DEVICE, or LINK/DEVICE/POINT for its readings" example:"line1/meter"`
	Prefix string `query:"prefix" doc:"The address below which is listed" example:"holding:100"`
}

type discoverInput struct {
	Link string `query:"link" required:"true" example:"line1"`
}

// registerExplorer offers to find addresses and devices. Both ask devices, as a read does.
func registerExplorer(a huma.API, e Explorer) {
	huma.Register(a, operation(http.MethodGet, "/v1/browse", "browse", "What a device has, or the ways in which an address may be read",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		func(ctx context.Context, in *browseInput) (*answer[client.FoundList], error) {
			found, err := e.Browse(ctx, in.Of, in.Prefix)
			return &answer[client.FoundList]{client.FoundList{Found: found}}, problemOf(err)
		})
	huma.Register(a, operation(http.MethodPost, "/v1/discover", "discover", "Look for devices on a link; a line of JSON for each candidate",
		http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		func(_ context.Context, in *discoverInput) (*huma.StreamResponse, error) {
			return stream(func(ctx context.Context, each func(client.Discovery) error) error {
				begun := false
				err := e.Discover(ctx, in.Link, func(d client.Discovery) error {
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
