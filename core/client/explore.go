package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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

// Discover looks for devices on a link, and calls each after every candidate. It ends when ctx
// does, and the gateway then ends it after the candidate in hand.
func (c *Client) Discover(ctx context.Context, link string, each func(Discovery) error) error {
	answer, err := c.do(ctx, http.MethodPost, "/v1/discover", url.Values{"link": {link}}, nil, "")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewReader(answer.Body); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil && len(line) == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return nil
		}
		var d Discovery
		if err := json.Unmarshal(line, &d); err != nil {
			return fmt.Errorf("discover %s: the gateway's answer is no line of JSON: %w", link, err)
		}
		if d.Error != nil {
			return &Error{Code: d.Error.Code, Detail: d.Error.Detail}
		}
		if err := each(d); err != nil {
			return err
		}
	}
}
