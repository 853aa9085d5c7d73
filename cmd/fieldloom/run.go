package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/fieldloom/fieldloom/core/gateway"
)

type runWord struct {
	Config string `help:"Directory of fieldloom.yaml. Default: the current one." default:"." type:"path" placeholder:"DIR"`
}

// Help has the examples.
func (*runWord) Help() string {
	return `Reads fieldloom.yaml and links/*.yaml, starts the drivers and stores what they send. SIGHUP and changed files reload: only
what changed restarts, and a wrong configuration leaves the old one in force, also at the next start. Ctrl-C or SIGTERM stops, after everything is stored.

  fieldloom run --config /etc/fieldloom
  systemctl kill -s HUP fieldloom          reload now`
}

// Run runs the gateway until a signal.
func (w *runWord) Run(ctx context.Context, s *screen) error {
	start, err := gateway.Load(w.Config)
	if err != nil {
		return err
	}
	c := start.Config
	tune()
	level := new(slog.LevelVar)
	level.Set(c.Log.Level)
	hup, stop := hangups(ctx)
	defer stop()
	attach, err := gateway.DriversByHand()
	if err != nil {
		return &usageError{err.Error()}
	}
	return gateway.Run(ctx, gateway.Options{Start: start, Version: version(), Log: newLog(s.err, c.Log.Format, level), Level: level, Reload: hup, Alone: true, Attach: attach})
}

// tune keeps the process small: the core allocates little, so collecting more often
// costs next to nothing.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func newLog(to io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(plainWriter{to}, o))
	}
	return slog.New(slog.NewTextHandler(to, o))
}

// hangups turns each SIGHUP into a value. Several in a row are one.
func hangups(ctx context.Context) (<-chan struct{}, func()) {
	signals, values := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
			select {
			case values <- struct{}{}:
			default:
			}
		}
	}()
	return values, func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}
