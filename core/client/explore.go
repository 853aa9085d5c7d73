package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Found is an address, or a device, that a driver has found.
type Found struct {
	Address  string `json:"address,omitempty" doc:"In the driver's own syntax"`
	Name     string `json:"name,omitempty"`
	Kind     string `json:"kind,omitempty" doc:"Of its values"`
	Writable bool   `json:"writable,omitempty"`
	Value    string `json:"value,omitempty" doc:"What it reads now"`
	Likely   bool   `json:"likely,omitempty" doc:"Of several readings of one address: it may well be what is meant"`
}

// FoundList is the answer of Browse.
type FoundList struct {
	Found []Found `json:"found"`
}

// Discovery is how far a discovery has come: a line for each candidate.
type Discovery struct {
	Done  int      `json:"done"`
	Of    int      `json:"of"`
	Found *Found   `json:"found,omitempty"`
	Error *Problem `json:"error,omitempty" doc:"Why it ended early"`
}

// Problem is why something ended.
type Problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Browse lists what lies below an address of a device, LINK/DEVICE; of LINK/DEVICE/POINT, or
// LINK/DEVICE/ADDRESS, the ways in which that may be read.
func (c *Client) Browse(ctx context.Context, name, prefix string) ([]Found, error) {
	query := url.Values{"of": {name}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	var list FoundList
	err := c.call(ctx, http.MethodGet, "/v1/browse", query, nil, &list)
	return list.Found, err
}

// DiscoverOptions say where to look for devices.
type DiscoverOptions struct {
	Link    string
	Within  string        // in the driver's words, as "1-32,100"; empty: wherever a device may be
	Timeout time.Duration // of each candidate; 0: the link's
}

// Discover looks for devices on a link, and calls each after every candidate. It ends when ctx
// does, and the gateway then ends it after the candidate in hand. An error says that it ended
// before all were asked.
func (c *Client) Discover(ctx context.Context, o DiscoverOptions, each func(Discovery) error) error {
	query := url.Values{"link": {o.Link}}
	if o.Within != "" {
		query.Set("within", o.Within)
	}
	if o.Timeout != 0 {
		query.Set("timeout", o.Timeout.String())
	}
	var last Discovery
	for d, err := range stream[Discovery](ctx, c, http.MethodPost, "/v1/discover", query, nil) {
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case d.Error != nil:
			return &Error{Code: d.Error.Code, Detail: d.Error.Detail}
		}
		if err := each(d); err != nil {
			return err
		}
		last = d
	}
	if ctx.Err() == nil && last.Done < last.Of {
		return fmt.Errorf("discover %s: it ended after %d of %d candidates: the gateway stops", o.Link, last.Done, last.Of)
	}
	return ctx.Err()
}
