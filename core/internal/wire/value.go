package wire

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

// EncodeValue encodes a value; a null has no kind set.
func EncodeValue(v driver.Value) *driverv1.Value {
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
		return &driverv1.Value{Value: &driverv1.Value_String_{String_: ValidText(v.Str())}}
	case driver.KindBytes:
		return &driverv1.Value{Value: &driverv1.Value_Bytes{Bytes: v.Bytes()}}
	default:
		return &driverv1.Value{}
	}
}

// DecodeValue decodes a value; what has no kind that is known is null.
func DecodeValue(v *driverv1.Value) driver.Value {
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

// EncodeFault keeps what crosses the wire of an error; nil stays nil.
func EncodeFault(f *driver.Error) *driverv1.Fault {
	if f == nil {
		return nil
	}
	wire := new(driverv1.Fault)
	setFault(wire, f)
	wire.NotSent, wire.MayBeDone = errors.Is(f, driver.ErrNotSent), errors.Is(f, driver.ErrMayBeDone)
	return wire
}

func setFault(wire *driverv1.Fault, f *driver.Error) {
	wire.Code, wire.Text, wire.AfterNs = driverv1.Code(f.Code), FaultText(f.Text), int64(f.After)
}

// maxFaultText bounds the text of a fault. A frame may have a thousand of them, and an
// answer one for each device: they must fit into a message.
const maxFaultText = 1 << 10

// FaultText returns s as valid UTF-8 and no longer than the text of a fault may be.
func FaultText(s string) string {
	if len(s) > maxFaultText {
		s = s[:maxFaultText] + "..."
	}
	return ValidText(s)
}

// maxShortText bounds what a driver calls itself: it stands in records and in the log.
const maxShortText = 128

func shortText(s string) string { return ValidText(s[:min(len(s), maxShortText)]) }

// DecodeFault takes a code that this version does not know as Internal.
func DecodeFault(wire *driverv1.Fault) *driver.Error {
	if wire == nil {
		return nil
	}
	code := driver.Internal
	if _, known := driverv1.Code_name[int32(wire.GetCode())]; known {
		code = driver.Code(wire.GetCode())
	}
	fault := &driver.Error{Code: code, Text: FaultText(wire.GetText()), After: max(0, time.Duration(wire.GetAfterNs()))}
	switch {
	case wire.GetMayBeDone():
		fault.Err = driver.ErrMayBeDone
	case wire.GetNotSent():
		fault.Err = driver.ErrNotSent
	}
	return fault
}

// decodeQuality takes what it does not know as Bad.
func decodeQuality(q driverv1.Quality) driver.Quality {
	if q == driverv1.Quality_QUALITY_GOOD || q == driverv1.Quality_QUALITY_UNCERTAIN {
		return driver.Quality(q)
	}
	return driver.Bad
}

func encodeGap(g *frame.Gap) *driverv1.Gap {
	wire := &driverv1.Gap{
		Samples: g.Samples, FirstSequence: g.FirstSeq, LastSequence: g.LastSeq,
		FromUnixNs: EncodeTime(g.From), ToUnixNs: EncodeTime(g.To), Cause: EncodeFault(g.Cause),
	}
	for i := range g.Links {
		l := &g.Links[i]
		wire.Links = append(wire.Links, &driverv1.GapLink{Link: ValidText(l.Link), Device: ValidText(l.Device), Polls: l.Polls, Uncounted: l.Uncounted})
	}
	return wire
}

func decodeGap(wire *driverv1.Gap) *frame.Gap {
	g := &frame.Gap{
		Samples: wire.GetSamples(), FirstSeq: wire.GetFirstSequence(), LastSeq: wire.GetLastSequence(),
		From: DecodeTime(wire.GetFromUnixNs()), To: DecodeTime(wire.GetToUnixNs()),
		Cause: DecodeFault(wire.GetCause()),
	}
	for _, l := range wire.GetLinks() {
		g.Links = append(g.Links, frame.GapLink{
			Link: l.GetLink(), Device: l.GetDevice(), Polls: l.GetPolls(), Uncounted: l.GetUncounted(),
		})
	}
	return g
}

// EncodeEvent encodes a change of condition.
func EncodeEvent(e control.Event) *driverv1.Event {
	return &driverv1.Event{
		TimeUnixNs: EncodeTime(e.Time), Link: e.Link, Device: e.Device,
		Condition: driverv1.Condition(e.Condition), Cause: EncodeFault(e.Cause),
		Pushes: e.Pushes, Failures: e.Failures,
	}
}

// DecodeEvent decodes a change of condition.
func DecodeEvent(wire *driverv1.Event) control.Event {
	return control.Event{
		Time: DecodeTime(wire.GetTimeUnixNs()), Link: wire.GetLink(), Device: wire.GetDevice(),
		Condition: decodeCondition(wire.GetCondition()), Cause: DecodeFault(wire.GetCause()),
		Pushes: wire.GetPushes(), Failures: wire.GetFailures(),
	}
}

// DecodeKind takes what it does not know as null.
func DecodeKind(k driverv1.Kind) driver.Kind {
	if _, known := driverv1.Kind_name[int32(k)]; !known {
		return driver.KindNull
	}
	return driver.Kind(k)
}

// decodeCondition takes what it does not know as NotStarted.
func decodeCondition(c driverv1.Condition) control.Condition {
	if _, known := driverv1.Condition_name[int32(c)]; !known {
		return control.NotStarted
	}
	return control.Condition(c)
}

// EncodeSamples encodes the samples that answer a read.
func EncodeSamples(samples []control.NamedSample) []*driverv1.PointSample {
	wire := make([]*driverv1.PointSample, len(samples))
	for i := range samples {
		wire[i] = encodeSample(samples[i].Point, &samples[i].Sample)
	}
	return wire
}

func encodeSample(point string, s *driver.Sample) *driverv1.PointSample {
	return &driverv1.PointSample{
		Point: point, Value: EncodeValue(s.Value), Quality: driverv1.Quality(s.Quality),
		TimeUnixNs: EncodeTime(s.Time), Fault: EncodeFault(s.Fault),
	}
}

// DecodeSamples decodes the samples that answer a read.
func DecodeSamples(wire []*driverv1.PointSample) []control.NamedSample {
	samples := make([]control.NamedSample, len(wire))
	for i, s := range wire {
		samples[i] = control.NamedSample{Point: s.GetPoint(), Sample: decodeSample(s)}
	}
	return samples
}

func decodeSample(s *driverv1.PointSample) driver.Sample {
	return driver.Sample{
		Value: DecodeValue(s.GetValue()), Quality: decodeQuality(s.GetQuality()),
		Time: DecodeTime(s.GetTimeUnixNs()), Fault: DecodeFault(s.GetFault()),
	}
}

// EncodeLastValues encodes what is known of points without asking their device.
func EncodeLastValues(values []control.LastValue) []*driverv1.LastValue {
	wire := make([]*driverv1.LastValue, len(values))
	for i := range values {
		v := &values[i]
		wire[i] = &driverv1.LastValue{Sample: encodeSample(v.Point, &v.Sample), SinceUnixNs: EncodeTime(v.Since), GoodUnixNs: EncodeTime(v.GoodTime)}
		if !v.GoodTime.IsZero() {
			wire[i].Good = EncodeValue(v.Good)
		}
	}
	return wire
}

// DecodeLastValues decodes what is known of points without asking their device.
func DecodeLastValues(wire []*driverv1.LastValue) []control.LastValue {
	values := make([]control.LastValue, len(wire))
	for i, v := range wire {
		values[i] = control.LastValue{Point: v.GetSample().GetPoint(), Sample: decodeSample(v.GetSample()),
			Since: DecodeTime(v.GetSinceUnixNs()), Good: DecodeValue(v.GetGood()), GoodTime: DecodeTime(v.GetGoodUnixNs())}
	}
	return values
}

// EncodeTime encodes a time in Unix nanoseconds; the zero time is 0 on the wire.
func EncodeTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// DecodeTime decodes what EncodeTime has encoded.
func DecodeTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// ValidText replaces what is not UTF-8. Devices send such texts, the generated code
// would pass them on, and every stock protobuf refuses a message that has one.
func ValidText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// validTexts returns texts itself where nothing has to be replaced.
func validTexts(texts []string) []string {
	for i, s := range texts {
		if utf8.ValidString(s) {
			continue
		}
		valid := slices.Clone(texts)
		for j := i; j < len(valid); j++ {
			valid[j] = ValidText(valid[j])
		}
		return valid
	}
	return texts
}
