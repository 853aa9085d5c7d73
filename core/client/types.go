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

// Status is the state and the counters of everything. Counters run since the driver process
// started; rates are a second's, over RateWindow.
type Status struct {
	Health
	Config     ConfigStatus `json:"config"`
	Spool      SpoolStatus  `json:"spool"`
	Watchers   int          `json:"watchers" doc:"Streams of samples being sent"`
	RateWindow float64      `json:"rate_window_s" doc:"Seconds that the rates were measured over"`
	Warnings   []string     `json:"warnings,omitempty" doc:"What is loosened and should not stay so"`
	Offline    []LineResult `json:"offline,omitempty" doc:"What the operator has taken off line"`
	Drivers    []Driver     `json:"drivers"`
	Links      []Link       `json:"links"`
}

// ConfigStatus tells which configuration is in force, and what was wrong with a newer one.
type ConfigStatus struct {
	Dir      string    `json:"dir"`
	Revision uint64    `json:"revision" doc:"Grows with every change that was put in force"`
	Loaded   time.Time `json:"loaded" doc:"When the configuration in force was loaded"`
	Refused  time.Time `json:"refused,omitzero" doc:"When a newer one was refused; absent when the files are in force"`
	Errors   []string  `json:"errors,omitempty" doc:"Why a newer one was refused, with file, line and column"`
	LastGood time.Time `json:"last_good,omitzero" doc:"The files were refused at the start: in force is the copy of the configuration that was good last, of this time"`
	Aside    []string  `json:"aside,omitempty" doc:"Link files that are wrong, and what became of their links; everything else is in force"`
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

	Max        uint64       `json:"max_bytes" doc:"What it may take"`
	Keep       float64      `json:"keep_s" doc:"For how long it is to keep what it has, in seconds; 0: as long as there is room"`
	Lasts      float64      `json:"lasts_s,omitempty" doc:"For how long max_bytes lasts at the present rate, in seconds; 0: nothing is stored"`
	RateWindow float64      `json:"rate_window_s,omitempty" doc:"Seconds that the rates were measured over"`
	Drivers    []SpoolShare `json:"drivers,omitempty" doc:"What it holds of each driver"`
}

// SpoolShare is what the spool holds of one driver: "" is the gateway itself.
type SpoolShare struct {
	Driver  string    `json:"driver"`
	Records uint64    `json:"records"`
	Bytes   uint64    `json:"bytes"`
	First   time.Time `json:"first,omitzero" doc:"When the oldest record was stored"`
	Rate    float64   `json:"rate" doc:"Bytes stored a second at present"`
	Lasts   float64   `json:"lasts_s,omitempty" doc:"For how long its records are kept at the present rates of all, in seconds; at most keep_s"`
}

// Driver is one driver with its processes. State, Since, Cause, PID, Started and
// Stderr are those of the process that does worst; the counters are of all together.
type Driver struct {
	Name      string    `json:"name"`
	Version   string    `json:"version,omitempty"`
	State     string    `json:"state" enum:"verified,starting,standby,active,draining,backing-off,quarantined,stopped"`
	Since     time.Time `json:"since"`
	Cause     string    `json:"cause,omitempty" doc:"Why it is in this state"`
	Stderr    []string  `json:"stderr,omitempty" doc:"The last lines of the process that died"`
	PID       int       `json:"pid,omitempty"`
	Started   time.Time `json:"started,omitzero" doc:"When the process started"`
	Level     string    `json:"level,omitempty" doc:"The lowest level of its log"`
	Disabled  string    `json:"disabled,omitempty" doc:"Why it is not to run"`
	Unsigned  bool      `json:"unsigned,omitempty" doc:"Nobody signed what runs"`
	Restarts  uint64    `json:"restarts"`
	Frames    uint64    `json:"frames" doc:"Frames stored since the gateway started"`
	Bytes     uint64    `json:"bytes"`
	Gaps      uint64    `json:"gaps" doc:"Losses recorded since the gateway started"`
	Refused   uint64    `json:"refused,omitempty" doc:"Frames and events that it sent and that were not its to send"`
	Refusal   string    `json:"refusal,omitempty" doc:"Why the last was refused"`
	Samples   uint64    `json:"samples"`
	Dropped   uint64    `json:"dropped" doc:"Samples lost because the ring was full"`
	Slowed    uint64    `json:"slowed" doc:"Polls not made because the ring was full"`
	Ring      uint64    `json:"ring_bytes" doc:"Bytes not yet acknowledged"`
	RingMax   uint64    `json:"ring_max_bytes"`
	Rate      float64   `json:"samples_per_s"`
	Uncounted bool      `json:"uncounted,omitempty" doc:"A process of it has never told its counters: they are not known, and not 0"`
	Spill     uint64    `json:"spill_bytes,omitempty" doc:"Bytes not yet acknowledged that are on disk"`
	SpillMax  uint64    `json:"spill_max_bytes,omitempty" doc:"How many may be, by processes.NAME.spill"`
	Instances int       `json:"instances"`
	Standby   int       `json:"standby"`

	Meters    []Meter        `json:"meters,omitempty" doc:"What the driver counts itself"`
	Processes []Process      `json:"processes"`
	Upgrade   *UpgradeStatus `json:"upgrade,omitempty"`
	Events    []Event        `json:"events,omitempty" doc:"The latest changes of state, oldest first"`
}

// Process is one process of a driver.
type Process struct {
	Member      int          `json:"member" doc:"Which of the driver's processes, from 0"`
	Instance    int          `json:"instance" doc:"Which share of the driver's links it has; -1: it stands by"`
	Next        bool         `json:"next,omitempty" doc:"It is of a version that is being put in the place of another"`
	State       string       `json:"state" enum:"verified,starting,standby,active,draining,backing-off,quarantined,stopped"`
	Since       time.Time    `json:"since"`
	Cause       string       `json:"cause,omitempty"`
	Retry       time.Time    `json:"retry,omitzero" doc:"When the next start is due"`
	Version     string       `json:"version,omitempty"`
	PID         int          `json:"pid,omitempty"`
	Started     time.Time    `json:"started,omitzero"`
	Restarts    uint64       `json:"restarts"`
	Links       int          `json:"links" doc:"How many links it holds"`
	Pending     int          `json:"pending,omitempty" doc:"How many links it is still to be given, or to open: thousands come in steps"`
	Detached    bool         `json:"detached" doc:"It outlives the gateway"`
	Adopted     bool         `json:"adopted,omitempty" doc:"An earlier gateway started it"`
	Confinement *Confinement `json:"confinement,omitempty"`
	Stderr      []string     `json:"stderr,omitempty" doc:"The last lines of the process that died"`
	Unanswered  float64      `json:"unanswered_s,omitempty" doc:"For how many seconds it has not told its counters although it was asked: those of its links are from then; absent: they are current"`
}

// UpgradeStatus is an upgrade in hand.
type UpgradeStatus struct {
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Text    string    `json:"text" doc:"The latest step"`
	Done    int       `json:"done" doc:"Links that are with the new version"`
	Of      int       `json:"of"`
}

// Confinement is what keeps a process from what it has no business with.
type Confinement struct {
	Mode    string   `json:"mode" enum:"required,best-effort,off"`
	InForce []string `json:"in_force" doc:"What is in force"`
	Missing []string `json:"missing,omitempty" doc:"What is not, and why"`
}

// Meter is a counter or a gauge of a driver.
type Meter struct {
	Link  string  `json:"link"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Kind  string  `json:"kind" enum:"counter,gauge"`
}

// Link is one link and its devices.
type Link struct {
	Name         string    `json:"name"`
	Driver       string    `json:"driver"`
	State        string    `json:"state" enum:"not-started,connecting,up,degraded,down,stopped,offline"`
	Since        time.Time `json:"since,omitzero"`
	Cause        *Fault    `json:"cause,omitempty"`
	Opens        uint64    `json:"opens"`
	OpenFailures uint64    `json:"open_failures"`
	Rate         float64   `json:"samples_per_s"`
	Unanswered   float64   `json:"unanswered_s,omitempty" doc:"For how many seconds its process has not told its counters, which are those of then; absent: they are current. Its state is the present one"`
	Uncounted    bool      `json:"uncounted,omitempty" doc:"Its process has never told its counters: they are not known, and not 0"`
	Devices      []Device  `json:"devices"`
}

// Device is one device.
type Device struct {
	Name          string    `json:"name"`
	State         string    `json:"state" enum:"not-started,connecting,up,degraded,down,stopped,offline"`
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
