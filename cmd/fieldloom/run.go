package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
)

type runWord struct {
	Config string `help:"Directory of fieldloom.yaml." default:"." type:"path" placeholder:"DIR"`
}

// Help has the examples.
func (*runWord) Help() string {
	return `Reads fieldloom.yaml and links/*.yaml, starts the drivers and stores what they send. SIGHUP and changed files reload: only
what changed restarts, and a wrong configuration leaves the old one in force. Ctrl-C or SIGTERM stops, after everything is stored.

  fieldloom run --config /etc/fieldloom
  systemctl kill -s HUP fieldloom          reload now`
}

// Run runs the gateway until a signal.
func (w *runWord) Run(ctx context.Context, s *screen) error {
	joinWakeUps()
	c, err := config.Load(w.Config)
	if err != nil {
		return &gateway.ConfigError{Faults: []error{err}}
	}
	tune()
	level := new(slog.LevelVar)
	level.Set(c.Log.Level)
	hup, stop := hangups(ctx)
	defer stop()
	attach, err := attachments(os.Getenv(attachVariable))
	if err != nil {
		return err
	}
	return gateway.Run(ctx, gateway.Options{Config: c, Version: version(), Log: newLog(s.err, c.Log.Format, level), Level: level, Reload: hup, Alone: true, Attach: attach})
}

// attachVariable names drivers that were started by hand: NAME=@FILE, by commas. The
// file is the record that such a driver wrote.
const attachVariable = "FIELDLOOM_ATTACH"

func attachments(text string) (map[string]string, error) {
	list := make(map[string]string)
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		name, path, ok := strings.Cut(part, "=@")
		if !ok || path == "" || checkDriver(name) != nil {
			return nil, &usageError{fmt.Sprintf("%s: %q is not NAME=@FILE, with the record that `fieldloom driver try` wrote", attachVariable, part)}
		}
		list[name] = path
	}
	return list, nil
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
		return slog.New(slog.NewJSONHandler(to, o))
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
