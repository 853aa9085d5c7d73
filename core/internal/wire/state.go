package wire

import (
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// EncodeState sends every table once, however many devices share it.
func EncodeState(s *control.State) *driverv1.State {
	wire := &driverv1.State{Revision: s.Revision, Links: make([]*driverv1.Link, len(s.Links))}
	tables := make(map[*control.Table]uint32)
	index := func(t *control.Table) uint32 {
		i, ok := tables[t]
		if !ok {
			i = uint32(len(wire.Tables))
			tables[t] = i
			wire.Tables = append(wire.Tables, encodeTable(t))
		}
		return i
	}
	for i := range s.Links {
		wire.Links[i] = encodeLink(&s.Links[i], index)
	}
	return wire
}

func encodeLink(l *control.Link, index func(*control.Table) uint32) *driverv1.Link {
	wire := &driverv1.Link{
		Name: l.Name, Settings: l.Settings, TimeoutNs: int64(l.Timeout), GapNs: int64(l.Gap),
		ScanClasses: make([]*driverv1.ScanClass, len(l.Classes)),
		Devices:     make([]*driverv1.Device, len(l.Devices)),
		Offline:     l.Offline,
	}
	for i, c := range l.Classes {
		wire.ScanClasses[i] = &driverv1.ScanClass{
			Name: c.Name, PeriodNs: int64(c.Period), Policy: driverv1.Policy(c.Policy),
		}
	}
	for i, d := range l.Devices {
		wire.Devices[i] = &driverv1.Device{
			Name: d.Name, Settings: d.Settings, Table: index(d.Table), FirstHandle: d.FirstHandle, Offline: d.Offline,
		}
	}
	return wire
}

func encodeTable(t *control.Table) *driverv1.PointTable {
	if t == nil {
		return &driverv1.PointTable{}
	}
	wire := &driverv1.PointTable{Points: make([]*driverv1.PointConfig, len(t.Points))}
	for i, p := range t.Points {
		wire.Points[i] = &driverv1.PointConfig{
			Name: p.Name, Address: p.Address, ScanClass: uint32(p.Class),
			Scale: p.Scale, Offset: p.Offset, Deadband: p.Deadband, Min: p.Min, Max: p.Max,
			Readable: p.Readable, Writable: p.Writable,
		}
	}
	return wire
}

// DecodeState checks what the engine could not even index with; what a State means is the
// engine's to judge.
func DecodeState(wire *driverv1.State) (*control.State, error) {
	s := &control.State{Revision: wire.GetRevision(), Links: make([]control.Link, len(wire.GetLinks()))}
	tables := make([]*control.Table, len(wire.GetTables()))
	for i, t := range wire.GetTables() {
		tables[i] = decodeTable(t)
	}
	for i, l := range wire.GetLinks() {
		if err := decodeLink(&s.Links[i], l, tables); err != nil {
			return nil, fmt.Errorf("state %d: link %s: %w", s.Revision, l.GetName(), err)
		}
	}
	return s, nil
}

func decodeLink(l *control.Link, wire *driverv1.Link, tables []*control.Table) error {
	*l = control.Link{
		Name: wire.GetName(), Settings: wire.GetSettings(),
		Timeout: time.Duration(wire.GetTimeoutNs()), Gap: time.Duration(wire.GetGapNs()),
		Classes: make([]control.Class, len(wire.GetScanClasses())),
		Devices: make([]control.Device, len(wire.GetDevices())),
		Offline: wire.GetOffline(),
	}
	if l.Timeout < 0 || l.Gap < 0 {
		return fmt.Errorf("timeout %v, gap %v: negative", l.Timeout, l.Gap)
	}
	for i, c := range wire.GetScanClasses() {
		l.Classes[i] = control.Class{
			Name: c.GetName(), Period: time.Duration(c.GetPeriodNs()), Policy: decodePolicy(c.GetPolicy()),
		}
		if l.Classes[i].Period < 0 {
			return fmt.Errorf("scan class %s: period %v: negative", c.GetName(), l.Classes[i].Period)
		}
	}
	for i, d := range wire.GetDevices() {
		if uint64(d.GetTable()) >= uint64(len(tables)) {
			return fmt.Errorf("device %s: table %d of %d", d.GetName(), d.GetTable(), len(tables))
		}
		l.Devices[i] = control.Device{
			Name: d.GetName(), Settings: d.GetSettings(),
			Table: tables[d.GetTable()], FirstHandle: d.GetFirstHandle(), Offline: d.GetOffline(),
		}
		if err := checkDevice(&l.Devices[i], len(l.Classes)); err != nil {
			return fmt.Errorf("device %s: %w", d.GetName(), err)
		}
	}
	return nil
}

func checkDevice(d *control.Device, classes int) error {
	points := d.Table.Points
	if last := uint64(d.FirstHandle) + uint64(len(points)); d.FirstHandle == 0 || last > 1<<32 {
		return fmt.Errorf("first handle %d with %d points: out of range", d.FirstHandle, len(points))
	}
	for i := range points {
		if points[i].Class < 0 || points[i].Class >= classes {
			return fmt.Errorf("point %s: scan class %d of %d", points[i].Name, points[i].Class, classes)
		}
	}
	return nil
}

func decodeTable(wire *driverv1.PointTable) *control.Table {
	t := &control.Table{Points: make([]control.Point, len(wire.GetPoints()))}
	for i, p := range wire.GetPoints() {
		t.Points[i] = control.Point{
			Name: p.GetName(), Address: p.GetAddress(), Class: int(p.GetScanClass()),
			Readable: p.GetReadable(), Writable: p.GetWritable(),
		}
		if p != nil {
			t.Points[i].Scale, t.Points[i].Offset, t.Points[i].Deadband = p.Scale, p.Offset, p.Deadband
			t.Points[i].Min, t.Points[i].Max = p.Min, p.Max
		}
	}
	return t
}

// decodePolicy takes what it does not know as DropOldest.
func decodePolicy(p driverv1.Policy) control.Policy {
	if _, known := driverv1.Policy_name[int32(p)]; !known {
		return control.DropOldest
	}
	return control.Policy(p)
}

// EncodeConfigErrors encodes the faults of a configuration, in their order.
func EncodeConfigErrors(faults []*driver.ConfigError) []*driverv1.ConfigFault {
	wire := make([]*driverv1.ConfigFault, len(faults))
	for i, f := range faults {
		wire[i] = &driverv1.ConfigFault{
			Link: ValidText(f.Link), Device: ValidText(f.Device), Point: ValidText(f.Point), Key: ValidText(f.Key), Text: ValidText(f.Text),
		}
	}
	return wire
}

// DecodeConfigErrors decodes what a driver found wrong, with its texts bounded.
func DecodeConfigErrors(wire []*driverv1.ConfigFault) []*driver.ConfigError {
	if len(wire) == 0 {
		return nil
	}
	faults := make([]*driver.ConfigError, len(wire))
	for i, f := range wire {
		faults[i] = &driver.ConfigError{
			Link: f.GetLink(), Device: f.GetDevice(), Point: f.GetPoint(), Key: f.GetKey(), Text: FaultText(f.GetText()),
		}
	}
	return faults
}
