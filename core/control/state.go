package control

import (
	"encoding/json"
	"time"
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

// Device is one endpoint. Its points have the handles FirstHandle, FirstHandle+1, ... in the
// order of the table.
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

// OfflineText is what everything taken off line says.
const OfflineText = "taken off line by the operator"
