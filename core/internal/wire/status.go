package wire

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// EncodeDescription encodes what a driver says of itself.
func EncodeDescription(d control.Description) *driverv1.DescribeResponse {
	return &driverv1.DescribeResponse{
		Name: d.Name, Version: d.Version,
		LinkSchema: string(d.LinkSchema), DeviceSchema: string(d.DeviceSchema), AddressSchema: string(d.AddressSchema),
		Abilities: d.Abilities, ProcessEpoch: d.ProcessEpoch,
	}
}

// DecodeDescription decodes what a driver says of itself, with its texts bounded.
func DecodeDescription(wire *driverv1.DescribeResponse) control.Description {
	schema := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	return control.Description{
		Info: driver.Info{
			Name: shortText(wire.GetName()), Version: shortText(wire.GetVersion()), LinkSchema: schema(wire.GetLinkSchema()),
			DeviceSchema: schema(wire.GetDeviceSchema()), AddressSchema: schema(wire.GetAddressSchema()),
		},
		Abilities: wire.GetAbilities(), ProcessEpoch: wire.GetProcessEpoch(),
	}
}

// EncodeRing encodes the status of a replay ring.
func EncodeRing(r control.RingStatus) *driverv1.RingStatus {
	return &driverv1.RingStatus{
		NextSequence: r.NextSequence, AckedSequence: r.AckedSequence, Bytes: r.Bytes, MaxBytes: r.MaxBytes,
		Samples: r.Samples, Dropped: r.Dropped, Slowed: r.Slowed, SpillBytes: r.SpillBytes, MaxSpillBytes: r.MaxSpillBytes,
	}
}

// DecodeRing decodes the status of a replay ring.
func DecodeRing(r *driverv1.RingStatus) control.RingStatus {
	return control.RingStatus{
		NextSequence: r.GetNextSequence(), AckedSequence: r.GetAckedSequence(), Bytes: r.GetBytes(),
		MaxBytes: r.GetMaxBytes(), Samples: r.GetSamples(), Dropped: r.GetDropped(), Slowed: r.GetSlowed(),
		SpillBytes: r.GetSpillBytes(), MaxSpillBytes: r.GetMaxSpillBytes(),
	}
}

// EncodeStatus encodes the status of a driver process.
func EncodeStatus(s *control.Status) *driverv1.StatusResponse {
	wire := &driverv1.StatusResponse{Links: make([]*driverv1.LinkStatus, len(s.Links)), Ring: EncodeRing(s.Ring)}
	for _, m := range s.Meters {
		wire.Meters = append(wire.Meters, &driverv1.Meter{
			Link: m.Link, Name: ValidText(m.Name), Value: m.Value, Counter: m.Counter,
		})
	}
	for i := range s.Links {
		l := &s.Links[i]
		wire.Links[i] = &driverv1.LinkStatus{
			Name: l.Name, Condition: driverv1.Condition(l.Condition), SinceUnixNs: EncodeTime(l.Since),
			Cause: EncodeFault(l.Cause), Opens: l.Opens, OpenFailures: l.OpenFailures,
			Devices: make([]*driverv1.DeviceStatus, len(l.Devices)),
		}
		for j := range l.Devices {
			wire.Links[i].Devices[j] = encodeDeviceStatus(&l.Devices[j])
		}
	}
	return wire
}

func encodeDeviceStatus(d *control.DeviceStatus) *driverv1.DeviceStatus {
	return &driverv1.DeviceStatus{
		Name: d.Name, Condition: driverv1.Condition(d.Condition), SinceUnixNs: EncodeTime(d.Since),
		Cause: EncodeFault(d.Cause), Polls: d.Polls, Failures: d.Failures, Overruns: d.Overruns,
		Samples: d.Samples, BadSamples: d.BadSamples, Writes: d.Writes, WriteFailures: d.WriteFailures,
		LastPollNs: int64(d.LastPoll), LastLateNs: int64(d.LastLate), MaxLateNs: int64(d.MaxLate),
		Pushes: d.Pushes,
	}
}

// DecodeStatus decodes the status of a driver process.
func DecodeStatus(wire *driverv1.StatusResponse) *control.Status {
	s := &control.Status{Links: make([]control.LinkStatus, len(wire.GetLinks())), Ring: DecodeRing(wire.GetRing())}
	for _, m := range wire.GetMeters() {
		if math.IsNaN(m.GetValue()) || math.IsInf(m.GetValue(), 0) {
			continue // JSON has no such numbers, and the status of all drivers is one text of it
		}
		s.Meters = append(s.Meters, control.Meter{
			Link: m.GetLink(), Name: m.GetName(), Value: m.GetValue(), Counter: m.GetCounter(),
		})
	}
	for i, l := range wire.GetLinks() {
		s.Links[i] = control.LinkStatus{
			Name: l.GetName(), Condition: decodeCondition(l.GetCondition()), Since: DecodeTime(l.GetSinceUnixNs()),
			Cause: DecodeFault(l.GetCause()), Opens: l.GetOpens(), OpenFailures: l.GetOpenFailures(),
			Devices: make([]control.DeviceStatus, len(l.GetDevices())),
		}
		for j, d := range l.GetDevices() {
			s.Links[i].Devices[j] = decodeDeviceStatus(d)
		}
	}
	return s
}

func decodeDeviceStatus(d *driverv1.DeviceStatus) control.DeviceStatus {
	return control.DeviceStatus{
		Name: d.GetName(), Condition: decodeCondition(d.GetCondition()), Since: DecodeTime(d.GetSinceUnixNs()),
		Cause: DecodeFault(d.GetCause()), Polls: d.GetPolls(), Failures: d.GetFailures(), Overruns: d.GetOverruns(),
		Samples: d.GetSamples(), BadSamples: d.GetBadSamples(), Writes: d.GetWrites(), WriteFailures: d.GetWriteFailures(),
		LastPoll: time.Duration(d.GetLastPollNs()), LastLate: time.Duration(d.GetLastLateNs()),
		MaxLate: time.Duration(d.GetMaxLateNs()), Pushes: d.GetPushes(),
	}
}
