package gateway

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/audit"
	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// oldLimit is how long a write waits for the last value of its point, which is only for
// the audit log.
const oldLimit = 500 * time.Millisecond

// AuditDir is where a gateway with this data directory keeps who wrote what.
func AuditDir(data string) string { return filepath.Join(data, audit.DirName) }

// audited sends one write, and keeps in the audit log and the log who asked for it, before
// and after. A write goes on where that cannot be kept, which is logged and counted.
func (g *gateway) audited(ctx context.Context, name string, at *inforce.Point, v driver.Value, send func() error) error {
	asked := &audit.Entry{Point: name, New: valueJSON(v), Result: audit.Asked}
	if who := caller.From(ctx); who != nil {
		asked.UID, asked.PID, asked.User, asked.Program, asked.From = who.UID(), who.PID(), who.User(), who.Program(), "local"
	}
	asked.Old = g.lastValue(ctx, at)
	g.keepWrite(asked, true)
	err := send()
	done := *asked
	done.Of, done.Time, done.Old, done.Result = asked.N, time.Time{}, nil, audit.Written
	if err != nil {
		done.Result = err.Error()
	}
	g.keepWrite(&done, false)
	g.o.Log.Info("write", "point", name, "user", asked.User, "pid", asked.PID, "program", asked.Program,
		"old", string(asked.Old), "new", string(asked.New), "result", done.Result, "audit", done.N, "hash", done.Hash)
	return err
}

func (g *gateway) keepWrite(e *audit.Entry, sync bool) {
	if err := g.audit.Append(e, sync); err != nil {
		g.o.Log.Error("a write is missing in the audit log, which will say how many", "point", e.Point, "err", err)
	}
}

func valueJSON(v driver.Value) []byte { return audit.Value(rawJSON(v.AppendJSON(nil))) }

// rawJSON is JSON already.
type rawJSON []byte

// MarshalJSON returns it as it is.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// lastValue is the last value that is known of a point, were it from before the device went
// away; nil: none is known soon enough.
func (g *gateway) lastValue(ctx context.Context, at *inforce.Point) []byte {
	ctx, cancel := context.WithTimeout(ctx, oldLimit)
	defer cancel()
	samples := []client.Sample{{Link: at.Link.Name, Device: at.Device.Name, Point: at.Point.Name}}
	p := &part{link: at.Link, device: at.Device.Name, points: []string{at.Point.Name}, places: []int{0}}
	if !g.readLast(ctx, p, samples) || samples[0].Time.IsZero() {
		return nil
	}
	switch s := &samples[0]; {
	case s.Quality != driver.Bad:
		return valueJSON(s.Value)
	case s.Last != nil && !s.Last.GoodTime.IsZero():
		return valueJSON(s.Last.Good)
	}
	return nil
}

// An AuditEntry is one line of the audit log.
type AuditEntry = audit.Entry

// Audit calls each for every line of the audit log in a data directory, and checks the
// chain of their hashes. No gateway need run.
func Audit(data string, each func(*AuditEntry) error) (*audit.Report, error) {
	return audit.Read(AuditDir(data), each)
}
