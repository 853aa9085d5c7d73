package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/stream"
)

// Replay calls each with every sample that the gateway of c has stored since a
// time, in the order of storage. The gateway must not run: its API replays while it
// does. An error of each ends the replay and is returned. The sample is only valid
// during the call.
func Replay(ctx context.Context, c *config.Config, since time.Time, log *slog.Logger, each func(*client.Sample) error) (err error) {
	d, err := datadir.Open(c.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	points, err := d.OpenCatalog(log)
	if err != nil {
		return err
	}
	s, err := spool.Open(d.SpoolDir(), spool.Options{MaxBytes: c.Spool.MaxBytes, MaxAge: c.Spool.MaxAge, Log: log, Names: spool.NamesID(points.ID())})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	stored := stream.Store{Spool: s, Catalog: points}
	w := &watch{cursor: stored.Open(stored.Since(since), nil), to: callSink(each)}
	w.cursor.LeaveOut(since)
	return w.sendAll(ctx)
}

// callSink is a sink that calls a function.
type callSink func(*client.Sample) error

// Begin has nothing to do.
func (f callSink) Begin(client.Position) {}

// Sample calls it.
func (f callSink) Sample(s *client.Sample) error { return f(s) }

// Flush has nothing to do.
func (f callSink) Flush() error { return nil }
