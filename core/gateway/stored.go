package gateway

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/samples"
	"github.com/fieldloom/fieldloom/core/internal/audit"
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
	return samples.Replay(ctx, stream.Store{Spool: s, Catalog: points}, since, each)
}

// AuditDir is where a gateway with this data directory keeps who wrote what.
func AuditDir(data string) string { return filepath.Join(data, audit.DirName) }

// An AuditEntry is one line of the audit log.
type AuditEntry = audit.Entry

// Audit calls each for every line of the audit log in a data directory, and checks the
// chain of their hashes. No gateway need run.
func Audit(data string, each func(*AuditEntry) error) (*audit.Report, error) {
	return audit.Read(AuditDir(data), each)
}
