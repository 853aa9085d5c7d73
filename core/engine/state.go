package engine

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// State is all that the core wants of one driver process.
type State struct {
	Revision uint64 // grows with every change
	Links    []Link
}

// Link is one wire and the devices on it.
type Link struct {
	Name     string
	Settings json.RawMessage // the driver's own keys
	Timeout  time.Duration   // for one request on the wire
	Gap      time.Duration   // between the end of a request and the next
	Classes  []Class
	Devices  []Device
	Offline  bool // taken off line by the operator: not opened, and every point is Bad once
}

// Class is a scan class: a named period.
type Class struct {
	Name   string
	Period time.Duration // 0: the next poll starts when the last has ended
	Policy Policy
}

// Policy says what happens to a class's samples when the ring is full.
type Policy uint8

// The policies. The numbers cross the wire.
const (
	DropOldest Policy = iota // the oldest samples are dropped and counted
	Slow                     // no poll until there is room
	Latest                   // only the latest sample of each point is kept
)

// Device is one endpoint. Its points have the handles FirstHandle,
// FirstHandle+1, ... in the order of the table.
type Device struct {
	Name        string
	Settings    json.RawMessage // the driver's own keys
	Table       *Table          // shared by all devices of the same make; never changed
	FirstHandle uint32          // 0 is no handle
	Offline     bool            // taken off line by the operator, as Link.Offline
}

// Table is an immutable set of points.
type Table struct {
	Points []Point
}

// Point is the configuration of one point.
type Point struct {
	Name     string
	Address  string
	Unit     string   // for display; it does not cross the wire
	Class    int      // index into Link.Classes
	Scale    *float64 // value = raw*Scale + Offset as float64, where either is set
	Offset   *float64
	Deadband *float64 // set: send only a change of more than this, or of quality
	Min, Max *float64 // bounds of a written value, in the user's unit
	Readable bool
	Writable bool
}

// ConfigFault is one thing wrong in a State, and where. Empty names: the level above.
type ConfigFault struct {
	Link, Device, Point, Key string
	Text                     string
}

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
	Since   time.Time // it died, and of what it polled later nothing came; zero: it did not
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

// Control is the control plane of one driver process. *Engine implements it
// inside the process and the plugin package's client in the core, so neither side
// can tell whether there is a wire between them. Methods may be called
// concurrently; ctx bounds each call.
//
// Errors are *driver.Error or have a driver.CodeOf.
type Control interface {
	Describe(ctx context.Context) (Description, error)
	Validate(ctx context.Context, s *State) ([]ConfigFault, error)
	Apply(ctx context.Context, s *State, o ApplyOptions) ([]ConfigFault, error)
	Status(ctx context.Context) (*Status, error)
	Read(ctx context.Context, link, device string, points []string) ([]NamedSample, error)
	// Values returns what is known of a device's points without asking it, from the first-th
	// of its table on, and where another call goes on; 0: there is no more.
	Values(ctx context.Context, link, device string, first int) (values []LastValue, next int, err error)
	Write(ctx context.Context, link, device, point string, v driver.Value) error
	Browse(ctx context.Context, link, device, prefix string, limit int) ([]driver.Entry, error)

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

// Condition is what a link or device is in.
type Condition uint8

// The conditions. The numbers cross the wire.
const (
	NotStarted Condition = iota
	Connecting
	Up
	Degraded // some requests fail
	Down     // a device that does not answer, demoted and probed; a link not connected
	Stopped  // until the configuration changes, by the operator, or drained
)

var conditionNames = [...]string{"not-started", "connecting", "up", "degraded", "down", "stopped"}

func (c Condition) String() string {
	if int(c) < len(conditionNames) {
		return conditionNames[c]
	}
	return "unknown"
}

// Status is the state and the counters of everything in one driver process.
type Status struct {
	Links  []LinkStatus
	Ring   RingStatus
	Meters []Meter
}

// Meter is a number that the driver itself keeps for a link, see driver.Meter.
type Meter struct {
	Link    string
	Name    string
	Value   float64
	Counter bool // it only grows, since the process started; a gauge otherwise
}

// LinkStatus is one link's.
type LinkStatus struct {
	Name         string
	Condition    Condition
	Since        time.Time
	Cause        *driver.Error
	Opens        uint64
	OpenFailures uint64
	Devices      []DeviceStatus
}

// DeviceStatus is one device's. Counters run since the process started.
type DeviceStatus struct {
	Name          string
	Condition     Condition
	Since         time.Time
	Cause         *driver.Error
	Polls         uint64 // made, failed ones included
	Failures      uint64 // that failed as a whole
	Overruns      uint64 // due while the one before still ran or waited: skipped
	Samples       uint64
	BadSamples    uint64
	Writes        uint64
	WriteFailures uint64
	LastPoll      time.Duration
	LastLate      time.Duration // start of the last poll after its due time
	MaxLate       time.Duration
	Pushes        bool // it sends by itself and is not polled
}

// RingStatus is the replay ring's.
type RingStatus struct {
	NextSequence  uint64
	AckedSequence uint64
	Bytes         uint64
	MaxBytes      uint64
	Samples       uint64
	Dropped       uint64
	Slowed        uint64
	SpillBytes    uint64 // on disk, where the ring has a part there
	MaxSpillBytes uint64
}

// Event is a change of condition.
type Event struct {
	Time      time.Time
	Link      string
	Device    string // empty: the link itself
	Condition Condition
	Cause     *driver.Error
	Pushes    bool // the device sends by itself and is not polled
	// Failures is how many attempts have failed in a row: to open the link, or to have an
	// answer of the device. With Up it is what failed before.
	Failures uint64
}
