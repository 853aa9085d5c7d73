package client

import (
	"encoding/json"
	"time"
)

// Health says that the gateway serves.
type Health struct {
	Gateway string    `json:"gateway" doc:"The gateway's name"`
	Version string    `json:"version" doc:"The version of fieldloom"`
	PID     int       `json:"pid" doc:"Its process"`
	Since   time.Time `json:"since" doc:"When it started"`
}

// Status is the state and the counters of everything. Counters run since the
// driver process started; rates are a second's, over RateWindow.
type Status struct {
	Health
	Config     ConfigStatus `json:"config"`
	Spool      SpoolStatus  `json:"spool"`
	Watchers   int          `json:"watchers" doc:"Streams of samples being sent"`
	RateWindow float64      `json:"rate_window_s" doc:"Seconds that the rates were measured over"`
	Drivers    []Driver     `json:"drivers"`
	Links      []Link       `json:"links"`
}

// ConfigStatus tells which configuration is in force, and what was wrong with a
// newer one.
type ConfigStatus struct {
	Dir      string    `json:"dir"`
	Revision uint64    `json:"revision" doc:"Grows with every change that was put in force"`
	Loaded   time.Time `json:"loaded" doc:"When the configuration in force was loaded"`
	Refused  time.Time `json:"refused,omitzero" doc:"When a newer one was refused; absent when the files are in force"`
	Errors   []string  `json:"errors,omitempty" doc:"Why a newer one was refused, with file, line and column"`
}

// SpoolStatus is the state of the samples on disk.
type SpoolStatus struct {
	Records    uint64    `json:"records"`
	Bytes      uint64    `json:"bytes"`
	Files      uint64    `json:"files"`
	Duplicates uint64    `json:"duplicates" doc:"Records dropped because they were stored before"`
	Lost       uint64    `json:"lost" doc:"Records lost to damage or retention before they were read"`
	Syncs      uint64    `json:"syncs"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Fault      string    `json:"fault,omitempty" doc:"Why nothing can be stored at present"`
}

// Driver is one driver process.
type Driver struct {
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	State    string    `json:"state" enum:"starting,active,backing-off,stopping,stopped"`
	Since    time.Time `json:"since"`
	Cause    string    `json:"cause,omitempty" doc:"Why it is in this state"`
	Stderr   []string  `json:"stderr,omitempty" doc:"The last lines of the process that died"`
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started,omitzero" doc:"When the process started"`
	Restarts uint64    `json:"restarts"`
	Frames   uint64    `json:"frames" doc:"Frames stored since the gateway started"`
	Bytes    uint64    `json:"bytes"`
	Gaps     uint64    `json:"gaps" doc:"Losses recorded since the gateway started"`
	Samples  uint64    `json:"samples"`
	Dropped  uint64    `json:"dropped" doc:"Samples lost because the ring was full"`
	Slowed   uint64    `json:"slowed" doc:"Polls not made because the ring was full"`
	Ring     uint64    `json:"ring_bytes" doc:"Bytes not yet acknowledged"`
	RingMax  uint64    `json:"ring_max_bytes"`
	Rate     float64   `json:"samples_per_s"`
}

// Link is one link and its devices.
type Link struct {
	Name         string    `json:"name"`
	Driver       string    `json:"driver"`
	State        string    `json:"state" enum:"not-started,connecting,up,degraded,down,stopped"`
	Since        time.Time `json:"since,omitzero"`
	Cause        *Fault    `json:"cause,omitempty"`
	Opens        uint64    `json:"opens"`
	OpenFailures uint64    `json:"open_failures"`
	Rate         float64   `json:"samples_per_s"`
	Devices      []Device  `json:"devices"`
}

// Device is one device.
type Device struct {
	Name          string    `json:"name"`
	State         string    `json:"state" enum:"not-started,connecting,up,degraded,down,stopped"`
	Since         time.Time `json:"since,omitzero"`
	Cause         *Fault    `json:"cause,omitempty"`
	Polls         uint64    `json:"polls"`
	Failures      uint64    `json:"failures"`
	Overruns      uint64    `json:"overruns"`
	Samples       uint64    `json:"samples"`
	BadSamples    uint64    `json:"bad_samples"`
	Writes        uint64    `json:"writes"`
	WriteFailures uint64    `json:"write_failures"`
	LastPoll      float64   `json:"last_poll_ms" doc:"How long the last poll took"`
	LastLate      float64   `json:"last_late_ms" doc:"How long after its due time the last poll started"`
	MaxLate       float64   `json:"max_late_ms"`
	Rate          float64   `json:"samples_per_s"`
}

// Point is a configured point.
type Point struct {
	Link    string `json:"link"`
	Device  string `json:"device"`
	Point   string `json:"point"`
	Address string `json:"address" doc:"In its driver's syntax"`
	Scan    string `json:"scan" doc:"Its scan class"`
	Access  string `json:"access" enum:"r,w,rw"`
	Unit    string `json:"unit,omitempty"`
}

// Path is LINK/DEVICE/POINT.
func (p *Point) Path() string { return p.Link + "/" + p.Device + "/" + p.Point }

// PointList is the answer to Points.
type PointList struct {
	Points []Point `json:"points"`
}

// ReadRequest asks for points, named LINK/DEVICE/POINT or by a pattern.
type ReadRequest struct {
	Points []string `json:"points" minItems:"1" nullable:"false" maxItems:"10000" doc:"LINK/DEVICE/POINT, or a pattern"`
}

// SampleList is the answer to Read.
type SampleList struct {
	Samples []Sample `json:"samples"`
}

// WriteRequest asks to write one point.
type WriteRequest struct {
	Point string          `json:"point" doc:"LINK/DEVICE/POINT"`
	Value json.RawMessage `json:"value" doc:"A number, a text, true or false"`
}

// Written says that the device has acknowledged a write.
type Written struct {
	Point string          `json:"point"`
	Value json.RawMessage `json:"value"`
	Time  time.Time       `json:"time" doc:"When the device acknowledged it"`
}
