package plugin

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

func valueToWire(v driver.Value) *driverv1.Value {
	switch v.Kind() {
	case driver.KindBool:
		return &driverv1.Value{Value: &driverv1.Value_Bool{Bool: v.Bool()}}
	case driver.KindInt64:
		return &driverv1.Value{Value: &driverv1.Value_Int64{Int64: v.Int64()}}
	case driver.KindUint64:
		return &driverv1.Value{Value: &driverv1.Value_Uint64{Uint64: v.Uint64()}}
	case driver.KindFloat64:
		return &driverv1.Value{Value: &driverv1.Value_Float64{Float64: v.Float64()}}
	case driver.KindString:
		return &driverv1.Value{Value: &driverv1.Value_String_{String_: validText(v.Str())}}
	case driver.KindBytes:
		return &driverv1.Value{Value: &driverv1.Value_Bytes{Bytes: v.Bytes()}}
	default:
		return &driverv1.Value{}
	}
}

func valueFromWire(v *driverv1.Value) driver.Value {
	switch v := v.GetValue().(type) {
	case *driverv1.Value_Bool:
		return driver.BoolValue(v.Bool)
	case *driverv1.Value_Int64:
		return driver.Int64Value(v.Int64)
	case *driverv1.Value_Uint64:
		return driver.Uint64Value(v.Uint64)
	case *driverv1.Value_Float64:
		return driver.Float64Value(v.Float64)
	case *driverv1.Value_String_:
		return driver.StringValue(v.String_)
	case *driverv1.Value_Bytes:
		return driver.BytesValue(v.Bytes)
	default:
		return driver.Value{}
	}
}

// faultToWire keeps what crosses the wire of an error; nil stays nil.
func faultToWire(f *driver.Error) *driverv1.Fault {
	if f == nil {
		return nil
	}
	wire := new(driverv1.Fault)
	setFault(wire, f)
	wire.NotSent, wire.MayBeDone = errors.Is(f, driver.ErrNotSent), errors.Is(f, driver.ErrMayBeDone)
	return wire
}

func setFault(wire *driverv1.Fault, f *driver.Error) {
	wire.Code, wire.Text, wire.AfterNs = driverv1.Code(f.Code), faultText(f.Text), int64(f.After)
}

// maxFaultText bounds the text of a fault. A frame may have a thousand of them, and an
// answer one for each device: they must fit into a message.
const maxFaultText = 1 << 10

func faultText(s string) string {
	if len(s) > maxFaultText {
		s = s[:maxFaultText] + "..."
	}
	return validText(s)
}

// maxShortText bounds what a driver calls itself: it stands in records and in the log.
const maxShortText = 128

func shortText(s string) string { return validText(s[:min(len(s), maxShortText)]) }

// faultFromWire takes a code that this version does not know as Internal.
func faultFromWire(wire *driverv1.Fault) *driver.Error {
	if wire == nil {
		return nil
	}
	code := driver.Internal
	if _, known := driverv1.Code_name[int32(wire.GetCode())]; known {
		code = driver.Code(wire.GetCode())
	}
	fault := &driver.Error{Code: code, Text: faultText(wire.GetText()), After: max(0, time.Duration(wire.GetAfterNs()))}
	switch {
	case wire.GetMayBeDone():
		fault.Err = driver.ErrMayBeDone
	case wire.GetNotSent():
		fault.Err = driver.ErrNotSent
	}
	return fault
}

// qualityFromWire takes what it does not know as Bad.
func qualityFromWire(q driverv1.Quality) driver.Quality {
	if q == driverv1.Quality_QUALITY_GOOD || q == driverv1.Quality_QUALITY_UNCERTAIN {
		return driver.Quality(q)
	}
	return driver.Bad
}

func gapToWire(g *frame.Gap) *driverv1.Gap {
	wire := &driverv1.Gap{
		Samples: g.Samples, FirstSequence: g.FirstSeq, LastSequence: g.LastSeq,
		FromUnixNs: timeToWire(g.From), ToUnixNs: timeToWire(g.To), Cause: faultToWire(g.Cause),
	}
	for i := range g.Links {
		l := &g.Links[i]
		wire.Links = append(wire.Links, &driverv1.GapLink{Link: validText(l.Link), Device: validText(l.Device), Polls: l.Polls, Uncounted: l.Uncounted})
	}
	return wire
}

func gapFromWire(wire *driverv1.Gap) *frame.Gap {
	g := &frame.Gap{
		Samples: wire.GetSamples(), FirstSeq: wire.GetFirstSequence(), LastSeq: wire.GetLastSequence(),
		From: timeFromWire(wire.GetFromUnixNs()), To: timeFromWire(wire.GetToUnixNs()),
		Cause: faultFromWire(wire.GetCause()),
	}
	for _, l := range wire.GetLinks() {
		g.Links = append(g.Links, frame.GapLink{
			Link: l.GetLink(), Device: l.GetDevice(), Polls: l.GetPolls(), Uncounted: l.GetUncounted(),
		})
	}
	return g
}

func eventToWire(e control.Event) *driverv1.Event {
	return &driverv1.Event{
		TimeUnixNs: timeToWire(e.Time), Link: e.Link, Device: e.Device,
		Condition: driverv1.Condition(e.Condition), Cause: faultToWire(e.Cause),
		Pushes: e.Pushes, Failures: e.Failures,
	}
}

func eventFromWire(wire *driverv1.Event) control.Event {
	return control.Event{
		Time: timeFromWire(wire.GetTimeUnixNs()), Link: wire.GetLink(), Device: wire.GetDevice(),
		Condition: conditionFromWire(wire.GetCondition()), Cause: faultFromWire(wire.GetCause()),
		Pushes: wire.GetPushes(), Failures: wire.GetFailures(),
	}
}

// kindFromWire takes what it does not know as null.
func kindFromWire(k driverv1.Kind) driver.Kind {
	if _, known := driverv1.Kind_name[int32(k)]; !known {
		return driver.KindNull
	}
	return driver.Kind(k)
}

// conditionFromWire takes what it does not know as NotStarted.
func conditionFromWire(c driverv1.Condition) control.Condition {
	if _, known := driverv1.Condition_name[int32(c)]; !known {
		return control.NotStarted
	}
	return control.Condition(c)
}

func samplesToWire(samples []control.NamedSample) []*driverv1.PointSample {
	wire := make([]*driverv1.PointSample, len(samples))
	for i := range samples {
		wire[i] = sampleToWire(samples[i].Point, &samples[i].Sample)
	}
	return wire
}

func sampleToWire(point string, s *driver.Sample) *driverv1.PointSample {
	return &driverv1.PointSample{
		Point: point, Value: valueToWire(s.Value), Quality: driverv1.Quality(s.Quality),
		TimeUnixNs: timeToWire(s.Time), Fault: faultToWire(s.Fault),
	}
}

func samplesFromWire(wire []*driverv1.PointSample) []control.NamedSample {
	samples := make([]control.NamedSample, len(wire))
	for i, s := range wire {
		samples[i] = control.NamedSample{Point: s.GetPoint(), Sample: sampleFromWire(s)}
	}
	return samples
}

func sampleFromWire(s *driverv1.PointSample) driver.Sample {
	return driver.Sample{
		Value: valueFromWire(s.GetValue()), Quality: qualityFromWire(s.GetQuality()),
		Time: timeFromWire(s.GetTimeUnixNs()), Fault: faultFromWire(s.GetFault()),
	}
}

func lastToWire(values []control.LastValue) []*driverv1.LastValue {
	wire := make([]*driverv1.LastValue, len(values))
	for i := range values {
		v := &values[i]
		wire[i] = &driverv1.LastValue{Sample: sampleToWire(v.Point, &v.Sample), SinceUnixNs: timeToWire(v.Since), GoodUnixNs: timeToWire(v.GoodTime)}
		if !v.GoodTime.IsZero() {
			wire[i].Good = valueToWire(v.Good)
		}
	}
	return wire
}

func lastFromWire(wire []*driverv1.LastValue) []control.LastValue {
	values := make([]control.LastValue, len(wire))
	for i, v := range wire {
		values[i] = control.LastValue{Point: v.GetSample().GetPoint(), Sample: sampleFromWire(v.GetSample()),
			Since: timeFromWire(v.GetSinceUnixNs()), Good: valueFromWire(v.GetGood()), GoodTime: timeFromWire(v.GetGoodUnixNs())}
	}
	return values
}

// timeToWire and timeFromWire keep the zero time, which is 0 on the wire.
func timeToWire(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeFromWire(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// validText replaces what is not UTF-8. Devices send such texts, the generated code
// would pass them on, and every stock protobuf refuses a message that has one.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// validTexts returns texts itself where nothing has to be replaced.
func validTexts(texts []string) []string {
	for i, s := range texts {
		if utf8.ValidString(s) {
			continue
		}
		valid := slices.Clone(texts)
		for j := i; j < len(valid); j++ {
			valid[j] = validText(valid[j])
		}
		return valid
	}
	return texts
}
