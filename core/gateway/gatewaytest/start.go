// Package gatewaytest starts a driver process as a gateway does, for benchmarks that stand
// outside of the core.
package gatewaytest

import (
	"context"
	"os/exec"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/gateway/internal/launch"
	"github.com/fieldloom/fieldloom/core/internal/host"
)

// A Driver says what is started.
type Driver struct {
	Name    string
	Path    string // of the executable
	RunDir  string // for its socket
	Prepare func(cmd *exec.Cmd, socketDir string) (started func(error), err error)
}

// Start starts a driver process that outlives its core, and returns once it has described
// itself. stop ends it; ctx bounds the start and is not kept.
func Start(ctx context.Context, d Driver) (stop func(context.Context) error, err error) {
	p, err := host.Launch(ctx, host.Command{
		Name: d.Name, Path: d.Path, RunDir: d.RunDir, Prepare: d.Prepare, Detach: true,
		Env: launch.Env(&confine.Policy{Mode: confine.Required}),
	})
	if err != nil {
		return nil, err
	}
	return p.Stop, nil
}
