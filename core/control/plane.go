package control

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Description is what a driver says of itself.
type Description struct {
	driver.Info
	Abilities    []string
	ProcessEpoch uint64
}

// ApplyOptions go with a State.
type ApplyOptions struct {
	Standby bool     // prepare everything, open nothing until Activate
	HandOff []byte   // what another process's Drain answered
	Hold    []string // links to leave closed, although the rest is open, until Activate
	// Part says that the State has only links that are new or changed, and Remove names
	// those that are gone: all others stay as they are.
	Part   bool
	Remove []string
}

// ActivateOptions go with an Activate: what is known of who had the links before.
type ActivateOptions struct {
	HandOff []byte    // what that process's Drain answered; empty: nothing
	Since   time.Time // when that process died, so that nothing polled later arrived; zero if it drained cleanly
}

// Drained is the answer to Drain.
type Drained struct {
	LastSequence uint64
	HandOff      []byte
}

// NamedSample is a sample with its point's name.
type NamedSample struct {
	Point string
	driver.Sample
}

// Plane is the control plane of one driver process. *engine.Engine implements it inside the
// process and *host.Process in the core, so neither side can tell whether there is a wire
// between them. Methods may be called concurrently; ctx bounds each call.
//
// Errors are *driver.Error or have a driver.CodeOf.
type Plane interface {
	Describe(ctx context.Context) (Description, error)
	Validate(ctx context.Context, s *State) ([]*driver.ConfigError, error)
	Apply(ctx context.Context, s *State, o ApplyOptions) ([]*driver.ConfigError, error)
	Status(ctx context.Context) (*Status, error)
	Read(ctx context.Context, link, device string, points []string) ([]NamedSample, error)
	// Values returns what is known of a device's points without asking it, from the first-th
	// of its table on, and where another call goes on; 0: there is no more.
	Values(ctx context.Context, link, device string, first int) (values []LastValue, next int, err error)
	Write(ctx context.Context, link, device, point string, v driver.Value) error
	Browse(ctx context.Context, link, device, prefix string, limit int) ([]driver.Entry, error)
	// Discover asks one candidate of a link; found is nil where nobody answers. A patience of 0,
	// or of more than the link's time-out, is that.
	Discover(ctx context.Context, link string, c driver.Candidate) (found *driver.Entry, candidates int, err error)

	// Drain finishes the polls in flight of the links, closes them and flushes.
	// The others go on. No links: all of them, and then the engine is in standby.
	Drain(ctx context.Context, links []string) (Drained, error)
	// Activate opens links that were applied in standby, held or drained. No links: all
	// of them.
	Activate(ctx context.Context, links []string, o ActivateOptions) error
	// Check proves that a link, or a device of it, that is off line works: it opens
	// what must be opened, reads one point (of any device, where device is empty),
	// closes what it opened, and answers the fault. The state does not change.
	Check(ctx context.Context, link, device string) error
}
