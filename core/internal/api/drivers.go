package api

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fieldloom/fieldloom/core/client"
)

// Packages are the driver packages that are installed.
type Packages interface {
	Packages(ctx context.Context) ([]client.Package, error)
	// Install reads an archive to its end.
	Install(ctx context.Context, archive io.Reader) (client.Package, error)
	Remove(ctx context.Context, driver, version string, force bool) (client.DriverChange, error)
}

// Choices are what the operator decides until he decides otherwise.
type Choices interface {
	Enable(ctx context.Context, driver string) (client.DriverChange, error)
	Disable(ctx context.Context, driver string) (client.DriverChange, error)
	SetLevel(ctx context.Context, driver, level string) (client.DriverChange, error)
	Offline(ctx context.Context, r client.LineRequest) ([]client.LineResult, error)
	Online(ctx context.Context, r client.LineRequest) ([]client.LineResult, error)
}

// Upgrades bring drivers to other versions. They go on when the caller goes. Each step is
// passed to step, and the last has Final set, unless there was none because of the error
// that is returned.
type Upgrades interface {
	Upgrade(ctx context.Context, driver, version string, step func(client.Step)) error
	Rollback(ctx context.Context, driver, version string, step func(client.Step)) error
}

// History is what driver processes wrote and went through. Its methods call each with what
// is at hand, then, with follow, with what comes, until ctx is done or each fails.
type History interface {
	Logs(ctx context.Context, driver string, n int, follow bool, each func(client.LogLine) error) error
	Events(ctx context.Context, n int, follow bool, each func(client.Event) error) error
}

const (
	// maxArchive bounds an archive on its way in.
	maxArchive = 512 << 20
	// archiveTime is how long it may take to come.
	archiveTime = 2 * time.Minute
)

// DriverName is the name of a driver in a path. It is exported because huma looks
// into no other embedded type.
type DriverName struct {
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"`
}

// Following is how much of a stream is wanted.
type Following struct {
	N      int  `query:"n" minimum:"0" maximum:"10000" default:"200" doc:"How many of those at hand"`
	Follow bool `query:"follow" doc:"Then each new one, until the caller goes"`
}

// archiveInput gives the body as it comes: an archive does not fit into memory twice.
type archiveInput struct{ body io.Reader }

// Resolve implements huma.Resolver.
func (a *archiveInput) Resolve(ctx huma.Context) []error {
	a.body = io.LimitReader(ctx.BodyReader(), maxArchive+1)
	_ = ctx.SetReadDeadline(time.Now().Add(archiveTime)) // a test's connection has none
	return nil
}

func registerPackages(a huma.API, packages Packages) {
	huma.Register(a, operation(http.MethodGet, "/v1/drivers", "drivers", "List the driver packages, and why one may not run", http.StatusServiceUnavailable),
		func(ctx context.Context, _ *struct{}) (*answer[client.PackageList], error) {
			list, err := packages.Packages(ctx)
			return &answer[client.PackageList]{client.PackageList{Packages: list}}, problemOf(err)
		})
	install := operation(http.MethodPost, "/v1/drivers", "install-driver", "Install a driver package; nothing is kept of one that may not run",
		http.StatusForbidden, http.StatusConflict, http.StatusUnprocessableEntity)
	install.RequestBody = &huma.RequestBody{Required: true, Description: "The package as a tar.gz archive", Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	huma.Register(a, install, func(ctx context.Context, in *archiveInput) (*answer[client.Package], error) {
		p, err := packages.Install(ctx, in.body)
		return &answer[client.Package]{p}, problemOf(err)
	})
	type removeInput struct {
		DriverName
		Version string `query:"version" maxLength:"128" doc:"Absent: the only one that there is"`
		Force   bool   `query:"force" doc:"Also what links use: they go down with the cause"`
	}
	huma.Register(a, operation(http.MethodDelete, "/v1/drivers/{name}", "remove-driver", "Remove a version of a driver that no link uses, or any with force",
		http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *removeInput) (*answer[client.DriverChange], error) {
			done, err := packages.Remove(ctx, in.Name, in.Version, in.Force)
			return &answer[client.DriverChange]{done}, problemOf(err)
		})
}

func registerChoices(a huma.API, choices Choices) {
	change := func(word, summary string, f func(ctx context.Context, driver string) (client.DriverChange, error)) {
		huma.Register(a, operation(http.MethodPost, "/v1/drivers/{name}/"+word, word+"-driver", summary, http.StatusNotFound),
			func(ctx context.Context, in *DriverName) (*answer[client.DriverChange], error) {
				done, err := f(ctx, in.Name)
				return &answer[client.DriverChange]{done}, problemOf(err)
			})
	}
	change("enable", "Let a driver run that was disabled or quarantined", choices.Enable)
	change("disable", "Drain and stop a driver until it is enabled", choices.Disable)
	type levelInput struct {
		DriverName
		Body client.LevelRequest
	}
	huma.Register(a, operation(http.MethodPost, "/v1/drivers/{name}/level", "set-level", "Set the level of a driver's log while it runs",
		http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable),
		func(ctx context.Context, in *levelInput) (*answer[client.DriverChange], error) {
			done, err := choices.SetLevel(ctx, in.Name, in.Body.Level)
			return &answer[client.DriverChange]{done}, problemOf(err)
		})
	registerLines(a, choices)
}

func registerUpgrades(a huma.API, upgrades Upgrades) {
	registerUpgrade(a, "upgrade", "Bring a driver to a version, link by link, without a gap", upgrades.Upgrade)
	registerUpgrade(a, "rollback", "Bring a driver back to the version that was active before", upgrades.Rollback)
}

func registerUpgrade(a huma.API, word, summary string, f func(ctx context.Context, driver, version string, step func(client.Step)) error) {
	type upgradeInput struct {
		DriverName
		Body client.UpgradeRequest
	}
	huma.Register(a, streaming[client.Step](a, http.MethodPost, "/v1/drivers/{name}/"+word, word+"-driver", summary),
		func(_ context.Context, in *upgradeInput) (*huma.StreamResponse, error) {
			return stream(func(ctx context.Context, each func(client.Step) error) error {
				step, told := tellSteps(each)
				defer told()
				return f(ctx, in.Name, in.Body.Version, step)
			}), nil
		})
}

// maxSteps is how many steps a caller may be behind.
const maxSteps = 1024

// tellSteps returns what passes steps on to a caller, in order, and never waits for one who
// does not read: it leaves out steps that come then, but not the last. told waits
// until all are passed on, or the caller has gone.
func tellSteps(each func(client.Step) error) (step func(client.Step), told func()) {
	steps, done := make(chan client.Step, maxSteps), make(chan struct{})
	go func() {
		defer close(done)
		var gone error
		for s := range steps {
			if gone == nil {
				gone = each(s)
			}
		}
	}()
	step = func(s client.Step) {
		if s.Final { // nothing waits behind it
			steps <- s
			return
		}
		select {
		case steps <- s:
		default:
		}
	}
	return step, func() { close(steps); <-done }
}

func registerHistory(a huma.API, history History) {
	type logsInput struct {
		DriverName
		Following
	}
	huma.Register(a, streaming[client.LogLine](a, http.MethodGet, "/v1/drivers/{name}/logs", "driver-logs", "The lines that a driver wrote"),
		func(_ context.Context, in *logsInput) (*huma.StreamResponse, error) {
			return stream(func(ctx context.Context, each func(client.LogLine) error) error {
				return history.Logs(ctx, in.Name, in.N, in.Follow, each)
			}), nil
		})
	huma.Register(a, streaming[client.Event](a, http.MethodGet, "/v1/events", "events", "The changes of the driver processes, with their causes"),
		func(_ context.Context, in *Following) (*huma.StreamResponse, error) {
			return stream(func(ctx context.Context, each func(client.Event) error) error {
				return history.Events(ctx, in.N, in.Follow, each)
			}), nil
		})
}

func registerLines(a huma.API, choices Choices) {
	type lineInput struct{ Body client.LineRequest }
	line := func(word, summary string, f func(context.Context, client.LineRequest) ([]client.LineResult, error)) {
		huma.Register(a, operation(http.MethodPost, "/v1/"+word, word, summary, http.StatusNotFound, http.StatusUnprocessableEntity),
			func(ctx context.Context, in *lineInput) (*answer[client.LineList], error) {
				if (len(in.Body.Names) == 0) == (in.Body.Driver == "") {
					return nil, badRequest("name links and devices, or one driver, and not both")
				}
				if err := checkNames(in.Body.Names); err != nil {
					return nil, err
				}
				results, err := f(ctx, in.Body)
				return &answer[client.LineList]{client.LineList{Results: results}}, problemOf(err)
			})
	}
	line("offline", "Take links, devices or a driver off line, until they are brought back", choices.Offline)
	line("online", "Bring back what passes its health check", choices.Online)
}

// streaming is an operation that answers lines of JSON.
func streaming[T any](a huma.API, method, path, id, summary string) huma.Operation {
	op := operation(method, path, id, summary, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	op.Responses = map[string]*huma.Response{"200": {Description: "JSON, one a line", Content: map[string]*huma.MediaType{
		lines: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, id)}}}}
	return op
}
