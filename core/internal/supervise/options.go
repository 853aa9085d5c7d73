package supervise

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// A Process is one running driver process, as package host launches it.
type Process interface {
	control.Plane
	PID() int
	Description() control.Description
	Attach(ctx context.Context, h host.Hello, to host.Handler) (Attachment, error)
	Done() <-chan struct{}
	Exit() host.Exit
	// Stop ends the process, and kills it at once where ctx is done.
	Stop(ctx context.Context) error
	// Record is what Options.Adopt needs to find the process again.
	Record() (json.RawMessage, error)
	// Release lets go of the process without ending it.
	Release() error
}

// An Attachment is the stream of one process's telemetry.
type Attachment interface {
	Ack(sequence uint64)
	Done() <-chan struct{}
	Err() error
	Close() error
}

// A Spool stores frames durably.
type Spool interface {
	Append(r spool.Record, stored func(error))
	Commit() // what was appended, at once
	Gather() // what was appended, soon
	Later()  // what was appended, together with what others append meanwhile
	Mark(driver string) (epoch, sequence uint64)
	MarkOf(driver string, epoch uint64) (sequence uint64)
}

// An Image is what a process is launched from: verified bytes, the same for every
// restart and every member.
type Image interface {
	Version() string
	Hash() string // tells two images apart, also of one executable with other rights
	// IsOf reports whether a process of an image of this hash executes the same,
	// whatever its rights.
	IsOf(hash string) bool
}

// Desired is what one driver should do.
type Desired struct {
	State     *control.State // the same pointer: nothing has changed
	Instances int            // shards, 1 to 16; 0: 1
	Standby   int            // warm spares, 0 to 16
	Detach    bool           // processes launched from now on outlive the core
	Disabled  string         // not empty: why the driver is not to run
	Probation time.Duration  // of a new version; 0: 60 s; negative: none
}

// A LaunchSpec says what is to be launched.
type LaunchSpec struct {
	Driver string
	Image  Image // nil without Options.Image
	Member int   // which of the driver's processes this is, from 0; for logs
	Detach bool
	OnLine func(host.Line) // takes every line that the process writes; does not block
}

// Options make a Supervisor. Launch is needed; without a Spool no state may be
// set, which is enough to check a configuration.
type Options struct {
	Log       *slog.Logger // nil: silent
	Launch    func(ctx context.Context, spec LaunchSpec) (Process, error)
	Spool     Spool
	CoreEpoch uint64
	// Handles returns the handles of which a driver may send samples. Nil: of all.
	Handles func(driverName string) wire.Handles
	LastRun time.Time // when an earlier gateway stored last; zero: never

	// Image returns what is to be launched: the image of a version, or with "" of
	// the version that is active. Its error says why there is none; with ErrImageUnclear in
	// its tree what runs goes on all the same. Nil: Launch knows by itself.
	Image func(driverName, version string) (Image, error)
	// Records is the directory with the records of detached processes; "": none.
	Records string
	// Adopt reattaches to the process of a record. Nil: never. Its error has
	// host.ErrGone or host.ErrNotTheSame in its tree where that is so.
	Adopt func(ctx context.Context, r Record) (Process, error)
	// Detach reports whether a process outlives the core that is started before its driver
	// has anything desired, for Prepare. Nil: it does not.
	Detach func(driverName string) bool
	// LogLines is how many lines are kept of each driver; 0: 200.
	LogLines int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LogLines <= 0 {
		o.LogLines = defaultLines
	}
	return o
}
