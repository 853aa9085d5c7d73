// Package wiretest has values that cross the wire, for the tests of both of its sides.
package wiretest

import (
	"encoding/json"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// State returns a state with two links, two devices that share a table, and one of every setting.
func State() *control.State {
	meter := &control.Table{Points: []control.Point{
		{Name: "u", Address: "holding:0", Scale: new(0.1), Offset: new(-3.0), Deadband: new(0.0), Readable: true},
		{Name: "sp", Address: "holding:1", Class: 1, Min: new(-1.0), Max: new(1.0), Readable: true, Writable: true},
	}}
	other := &control.Table{Points: []control.Point{{Name: "x", Address: "coil:7", Writable: true}}}
	return &control.State{Revision: 9, Links: []control.Link{
		{
			Name: "line1", Settings: json.RawMessage(`{"url":"tcp://h:1"}`), Timeout: time.Second, Gap: time.Millisecond,
			Classes: []control.Class{{Name: "default", Period: time.Second}, {Name: "fast", Period: 1, Policy: control.Latest}},
			Devices: []control.Device{
				{Name: "m1", Settings: json.RawMessage(`{"unit":1}`), Table: meter, FirstHandle: 1},
				{Name: "m2", Table: meter, FirstHandle: 3},
				{Name: "o", Table: other, FirstHandle: 5},
			},
		},
		{Name: "empty", Classes: []control.Class{}, Devices: []control.Device{}},
	}}
}
