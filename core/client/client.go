// Package client is the client of a running gateway's local API, and holds the
// types that the API speaks.
//
// A Client talks over the gateway's Unix socket. A Sample is one value of one
// point, as the API and every command write it: one line of JSON. A Status is
// the state and the counters of everything in the gateway. An Error is what the
// gateway answers instead, with a code for programs and a text for people.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// maxAnswer bounds what is read of an answer that is not a stream.
const maxAnswer = 256 << 20

// ErrUnreachable is in the tree of every error that says that no gateway answers.
var ErrUnreachable = errors.New("no gateway answers")

// A Client talks to one gateway. Its methods may be called concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the gateway that serves on the Unix socket. It does not connect.
func New(socket string) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, socket)
	}}
	return &Client{socket: socket, http: &http.Client{Transport: transport}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Health asks whether the gateway serves.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	return h, c.call(ctx, http.MethodGet, "/v1/health", nil, nil, &h)
}

// Status asks for the state and the counters of everything.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, nil, s)
}

// Points lists the configured points that match one of the patterns; all of them
// without a pattern.
func (c *Client) Points(ctx context.Context, patterns ...string) ([]Point, error) {
	var list PointList
	err := c.call(ctx, http.MethodGet, "/v1/points", url.Values{"pattern": patterns}, nil, &list)
	return list.Points, err
}

// Read reads the points, named LINK/DEVICE/POINT or by a pattern, fresh from their devices. A
// point's fault is in its own sample.
func (c *Client) Read(ctx context.Context, points ...string) ([]Sample, error) {
	var list SampleList
	err := c.call(ctx, http.MethodPost, "/v1/read", nil, ReadRequest{Points: points}, &list)
	return list.Samples, err
}

// Write writes one point and returns when the device has acknowledged it. It is never repeated.
func (c *Client) Write(ctx context.Context, w WriteRequest) (Written, error) {
	var done Written
	return done, c.call(ctx, http.MethodPost, "/v1/write", nil, w, &done)
}

// Reload makes the gateway load its configuration again. An error leaves the configuration in
// force as it was.
func (c *Client) Reload(ctx context.Context) (ConfigStatus, error) {
	var s ConfigStatus
	return s, c.call(ctx, http.MethodPost, "/v1/reload", nil, nil, &s)
}

// call sends in as JSON, where it is not nil, and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	answer, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	return decode(answer, out)
}

// transfer sends bytes as they are.
func (c *Client) transfer(ctx context.Context, method, path string, body io.Reader, out any) error {
	source := &source{Reader: body}
	answer, err := c.do(ctx, method, path, nil, source, "application/octet-stream")
	if broken := source.broken.Load(); err != nil && broken != nil {
		return *broken // what has not come whole is not taken
	}
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	return decode(answer, out)
}

// source is a body that remembers why it could not be read.
type source struct {
	io.Reader
	broken atomic.Pointer[error]
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.broken.Store(&err)
	}
	return n, err
}

func decode(answer *http.Response, out any) error {
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out); err != nil {
		return lostAnswer(answer.Request, err)
	}
	return nil
}

// lostAnswer is the error of a request whose answer has begun and is not whole. That of a
// command is unconfirmed.
func lostAnswer(request *http.Request, err error) error {
	if request.Method == http.MethodGet {
		return fmt.Errorf("%s %s: read the answer: %w", request.Method, request.URL.Path, err)
	}
	return fmt.Errorf("%s %s: %w: the answer is lost: %v", request.Method, request.URL.Path, ErrUnconfirmed, err) //nolint:errorlint // as in unconfirmed
}

// send returns an answer with a good status, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	if in == nil {
		return c.do(ctx, method, path, query, nil, "")
	}
	encoded, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%s %s: encode the request: %w", method, path, err)
	}
	return c.do(ctx, method, path, query, bytes.NewReader(encoded), "application/json")
}

// do is send of any body. The path is escaped already.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, contentType string) (*http.Response, error) {
	var sent atomic.Bool
	if method != http.MethodGet {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }, // from here on it may have left
		})
	}
	target := "http://gateway" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := c.http.Do(request)
	switch {
	case err != nil && sent.Load() && !isDial(err):
		return nil, unconfirmed(ctx, method, path, err)
	case err != nil && ctx.Err() != nil && method != http.MethodGet:
		return nil, fmt.Errorf("%s %s: not sent: %v", method, path, ctx.Err()) //nolint:errorlint // as in unconfirmed
	case err != nil:
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode/100 != 2 {
		defer func() { _ = answer.Body.Close() }()
		return nil, problem(answer)
	}
	return answer, nil
}

// isDial reports whether no connection came about. A request that was on another before has
// not left it: only then does the transport try again.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// unconfirmed is the error of a command that was sent, or may have been, and that nobody
// answered: the gateway has died, or the caller did not wait.
func unconfirmed(ctx context.Context, method, path string, err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	why := "the gateway gave no answer"
	if ctx.Err() != nil {
		why = "the answer was not waited for"
	}
	return fmt.Errorf("%s %s: %w: %s: %v", method, path, ErrUnconfirmed, why, err) //nolint:errorlint // a caller that looks for a cancelled context takes it for the end it wanted
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // the URL is of no use to a person
	}
	hint := "is `fieldloom run` up, and --config or --socket right?"
	if errors.Is(err, fs.ErrPermission) {
		hint = "only the gateway's user and root may: sudo -u USER fieldloom ..."
	}
	return fmt.Errorf("%w on %s: %w; %s", ErrUnreachable, c.socket, err, hint)
}
