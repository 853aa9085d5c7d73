package control

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

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

// A LastValue is what an engine knows of a point without asking its device.
type LastValue struct {
	Point         string
	driver.Sample           // the last one; its time is when the device was last read, or sent it
	Since         time.Time // when the sample was sent from which the value has differed by no more than the deadband; zero: not known
	Good          driver.Value
	GoodTime      time.Time // where the sample is Bad, the time of the last value that was Good; zero: none is known
}
