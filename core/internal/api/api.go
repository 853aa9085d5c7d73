// Package api serves the gateway's local REST API.
//
// Services are what the API asks and commands. The handler describes itself as
// OpenAPI under /openapi.json; an error is a problem document (RFC 9457) with a
// code and what to do; samples are streamed as lines of JSON. Listen opens the
// Unix socket that only the gateway's own user can reach.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Services are what the API serves, one for each part of it. Their methods may be called
// concurrently; ctx ends when the caller has gone. An error is a *client.Error, or has a
// driver.CodeOf.
type Services struct {
	Gateway  Gateway
	Status   Status
	Config   Config
	Commands Commands
	Explorer Explorer
	Samples  Samples
	Packages Packages
	Choices  Choices
	Upgrades Upgrades
	History  History
}

// Gateway is the gateway as a whole.
type Gateway interface {
	Health() client.Health
	// Stop makes the gateway stop, soon; with drivers also those that are detached.
	Stop(drivers bool)
}

// Status is what the gateway and its drivers do.
type Status interface {
	Status(ctx context.Context) (*client.Status, error)
}

// Config is the configuration in force.
type Config interface {
	Reload(ctx context.Context) (client.ConfigStatus, error)
}

// Commands list points, and reach their devices.
type Commands interface {
	Points(patterns []string) ([]client.Point, error)
	Read(ctx context.Context, points []string) ([]client.Sample, error)
	Write(ctx context.Context, point string, v driver.Value) (time.Time, error)
}

// Samples are what is stored, and what comes.
type Samples interface {
	// Watch sends samples to the sink until ctx is done, the sink fails, or what was
	// asked for has come. It flushes the sink once it misses nothing any more.
	Watch(ctx context.Context, o client.WatchOptions, to Sink) error
	// Values sends the last value of each point that matches one of the patterns, as
	// samples with Last set, and flushes the sink. An error before Begin is the caller's.
	Values(ctx context.Context, patterns []string, to Sink) error
}

// A Sink takes the samples of one watcher.
type Sink interface {
	Begin(after client.Position)   // once, before everything else: where the stream begins
	Sample(s *client.Sample) error // does not keep s
	Flush() error                  // called when nothing more is at hand
}

// Handler returns the API of services.
func Handler(of Services) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Fieldloom", of.Gateway.Health().Version)
	config.Info.Description = "The local API of a gateway."
	config.DocsPath = ""     // its page loads scripts from the network
	config.CreateHooks = nil // no $schema in the answers
	config.SchemasPath = ""
	config.Formats = map[string]huma.Format{"application/json": plainFormat, "json": plainFormat}
	config.Transformers = append(config.Transformers, plain)
	registry := config.Components.Schemas
	registry.RegisterTypeAlias(reflect.TypeFor[driver.Value](), reflect.TypeFor[any]())
	registry.RegisterTypeAlias(reflect.TypeFor[client.Sample](), reflect.TypeFor[sampleSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[client.Fault](), reflect.TypeFor[string]())
	a := humago.New(mux, config)
	registerGateway(a, of.Gateway)
	registerStatus(a, of.Status)
	registerConfig(a, of.Config)
	registerCommands(a, of.Commands)
	registerExplorer(a, of.Explorer)
	registerSamples(a, of.Samples)
	registerValues(a, of.Samples)
	registerPackages(a, of.Packages)
	registerChoices(a, of.Choices)
	registerUpgrades(a, of.Upgrades)
	registerHistory(a, of.History)
	registerProfiles(a)
	return queries(mux)
}

// queries refuses a query that cannot be read. net/http leaves out what it cannot read of one,
// without a word: a misspelt ?follow would answer something else.
func queries(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			writeProblem(w, &client.Error{Status: http.StatusBadRequest, Code: "bad-request", Detail: "the query: " + shorten(err.Error())})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// plainFormat writes JSON that no terminal obeys.
var plainFormat = huma.Format{Unmarshal: json.Unmarshal, Marshal: func(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := huma.DefaultJSONFormat.Marshal(&b, v); err != nil {
		return err
	}
	_, err := w.Write(client.PlainJSON(b.Bytes()))
	return err
}}

// sampleSchema describes what client.Sample.AppendJSON writes.
type sampleSchema struct {
	Link    string        `json:"link"`
	Device  string        `json:"device"`
	Point   string        `json:"point"`
	Value   any           `json:"value" doc:"A number, a text, a boolean or null; bytes as base64; NaN, +Inf and -Inf as texts"`
	Quality string        `json:"quality" enum:"good,uncertain,bad"`
	Time    time.Time     `json:"time" doc:"At the source, with nanoseconds"`
	Fault   *client.Fault `json:"fault,omitempty" doc:"CODE: TEXT, only when the quality is not good"`
	Unit    string        `json:"unit,omitempty" doc:"To show the value in"`

	Last     *lastSchema `json:"last,omitempty" doc:"The sample is the last value of its point, and not one of a stream"`
	Stored   time.Time   `json:"stored,omitzero" doc:"When the gateway stored it"`
	Position string      `json:"position,omitempty" doc:"For after, to go on behind this sample" example:"1204.17"`
}

// lastSchema describes client.Last.
type lastSchema struct {
	Since    time.Time `json:"since,omitzero" doc:"When the sample was sent from which the value has differed by no more than the deadband"`
	Good     any       `json:"good,omitempty" doc:"Where the quality is not good, the last value that was"`
	GoodTime time.Time `json:"good_time,omitzero"`
}

// answer wraps a body in what huma expects.
type answer[T any] struct{ Body T }

func operation(method, path, id, summary string, errors ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Errors: errors}
}

func registerGateway(a huma.API, gateway Gateway) {
	huma.Register(a, operation(http.MethodGet, "/v1/health", "health", "Tell that the gateway serves"),
		func(context.Context, *struct{}) (*answer[client.Health], error) {
			return &answer[client.Health]{gateway.Health()}, nil
		})
	type stopInput struct{ Body client.StopRequest }
	huma.Register(a, operation(http.MethodPost, "/v1/stop", "stop", "Stop the gateway; detached drivers go on, unless told otherwise"),
		func(_ context.Context, in *stopInput) (*answer[client.Health], error) {
			h := gateway.Health()
			gateway.Stop(in.Body.Drivers)
			return &answer[client.Health]{h}, nil
		})
}

func registerStatus(a huma.API, status Status) {
	huma.Register(a, operation(http.MethodGet, "/v1/status", "status", "State, causes and counters of everything"),
		func(ctx context.Context, _ *struct{}) (*answer[*client.Status], error) {
			now, err := status.Status(ctx)
			return &answer[*client.Status]{now}, problemOf(err)
		})
}

func registerConfig(a huma.API, config Config) {
	huma.Register(a, operation(http.MethodPost, "/v1/reload", "reload", "Load the configuration again; only what changed restarts",
		http.StatusUnprocessableEntity),
		func(ctx context.Context, _ *struct{}) (*answer[client.ConfigStatus], error) {
			status, err := config.Reload(ctx)
			return &answer[client.ConfigStatus]{status}, problemOf(err)
		})
}

func registerCommands(a huma.API, commands Commands) {
	type selection struct {
		Pattern []string `query:"pattern,explode" doc:"LINK/DEVICE/POINT globs; LINK and LINK/DEVICE match all below them"`
	}
	huma.Register(a, operation(http.MethodGet, "/v1/points", "points", "List the configured points", http.StatusBadRequest),
		func(_ context.Context, in *selection) (*answer[client.PointList], error) {
			if err := checkPatterns(in.Pattern); err != nil {
				return nil, err
			}
			points, err := commands.Points(in.Pattern)
			return &answer[client.PointList]{client.PointList{Points: points}}, problemOf(err)
		})
	type readInput struct{ Body client.ReadRequest }
	huma.Register(a, operation(http.MethodPost, "/v1/read", "read", "Read points, fresh from their devices",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		func(ctx context.Context, in *readInput) (*answer[client.SampleList], error) {
			if err := checkPatterns(in.Body.Points); err != nil {
				return nil, err
			}
			samples, err := commands.Read(ctx, in.Body.Points)
			return &answer[client.SampleList]{client.SampleList{Samples: samples}}, problemOf(err)
		})
	type writeInput struct{ Body client.WriteRequest }
	huma.Register(a, operation(http.MethodPost, "/v1/write", "write", "Write a point; answers when the device has acknowledged",
		http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
		func(ctx context.Context, in *writeInput) (*answer[client.Written], error) {
			v, err := client.ValueOf(in.Body.Value)
			if err != nil {
				return nil, problemOf(driver.Errorf(driver.BadValue, "%w", err))
			}
			at, err := commands.Write(ctx, in.Body.Point, v)
			return &answer[client.Written]{client.Written{Point: in.Body.Point, Value: in.Body.Value, Time: at}}, problemOf(err)
		})
}
