package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// Exec launches driver processes: the driver named x is the executable driver-x
// in Dir.
type Exec struct {
	Dir      func() string // the drivers directory of the configuration in force
	Env      []string      // the whole environment of a driver
	Log      *slog.Logger
	Services func(kind string) plugin.Services
	RunDir   string // of the processes' sockets and output; "": the system's
}

// Launch starts the driver of a kind.
func (e Exec) Launch(ctx context.Context, spec LaunchSpec) (Process, error) {
	kind := spec.Kind
	path, err := Find(e.Dir(), kind)
	if err != nil {
		return nil, err
	}
	p, err := plugin.Launch(ctx, plugin.Command{
		Name: kind, Path: path, Env: e.Env, Log: e.Log, Services: e.Services(kind), Level: lowestLevel(ctx, e.Log),
		Detach: spec.Detach, OnLine: spec.OnLine, RunDir: e.RunDir, TailLines: defaultLines,
	})
	if err != nil {
		return nil, err
	}
	return launched{p}, nil
}

// Find returns the path of the executable of a kind's driver.
func Find(dir, kind string) (string, error) {
	if kind == "" || filepath.Base(kind) != kind {
		return "", driver.Errorf(driver.InvalidConfig, "%q is not the name of a driver", kind)
	}
	path := filepath.Join(dir, "driver-"+kind)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", driver.Errorf(driver.InvalidConfig, "there is no driver-%s in %s: install it, or set `drivers` in fieldloom.yaml: %w", kind, dir, err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return "", driver.Errorf(driver.InvalidConfig, "%s is not an executable file: check its mode", path)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find driver %s: %w", kind, err)
	}
	return path, nil
}

// launched is a *plugin.Process behind this package's interface.
type launched struct{ *plugin.Process }

var _ Process = launched{}

// Record is what plugin.Reattach needs.
func (l launched) Record() (json.RawMessage, error) { return json.Marshal(l.Process.Record()) }

// Adopt reattaches to the process of a record. One that is there, proves that it is the
// one, and does not answer is killed: it may have links open.
func (e Exec) Adopt(ctx context.Context, r Record) (Process, error) {
	record, err := plugin.ParseRecord(r.Process)
	if err != nil {
		return nil, fmt.Errorf("adopt driver %s: %w: %w", r.Kind, plugin.ErrGone, err)
	}
	p, err := plugin.Reattach(ctx, record, plugin.Command{
		Name: r.Kind, Log: e.Log, Services: e.Services(r.Kind), Level: lowestLevel(ctx, e.Log), Detach: true, RunDir: e.RunDir,
		OnLine: r.OnLine, TailLines: defaultLines,
	})
	if err == nil {
		return launched{p}, nil
	}
	if record.Hand || errors.Is(err, plugin.ErrGone) || errors.Is(err, plugin.ErrNotTheSame) {
		return nil, err
	}
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if killErr := record.Kill(killing); killErr != nil && !errors.Is(killErr, plugin.ErrGone) {
		return nil, errors.Join(err, killErr)
	}
	return nil, fmt.Errorf("%w: it was killed: %w", err, plugin.ErrGone)
}

// Attach opens the stream.
func (l launched) Attach(ctx context.Context, h plugin.Hello, to plugin.Handler) (Attachment, error) {
	a, err := l.Process.Attach(ctx, h, to)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// lowestLevel is the lowest level that the log keeps.
func lowestLevel(ctx context.Context, log *slog.Logger) slog.Level {
	if log == nil {
		return slog.LevelError
	}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(ctx, level) {
			return level
		}
	}
	return slog.LevelError
}
