package mqtt

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// payload is the content of one message, decoded at most once however many points
// take values from it.
type payload struct {
	bytes   []byte
	doc     any
	fault   *driver.Error
	decoded bool
}

func (p *payload) json() (any, *driver.Error) {
	if !p.decoded {
		p.decoded = true
		doc, err := decodeJSON(p.bytes)
		if err != nil {
			p.fault = driver.Errorf(driver.Protocol, "payload %s is no JSON: %w", excerpt(p.bytes), err)
		}
		p.doc = doc
	}
	return p.doc, p.fault
}

// sample takes the point's value; ok is false where there is none to tell of.
func (a *address) sample(p *payload) (s driver.Sample, ok bool) {
	if a.path == nil {
		return judge(a.fromBytes(p.bytes))
	}
	doc, fault := p.json()
	if fault != nil {
		return driver.Faulted(fault), true
	}
	field, found := a.path.find(doc)
	if !found {
		return driver.Faulted(driver.Errorf(driver.NotFound, "payload has no %s", a.path)), !a.optional
	}
	return judge(a.fromJSON(field))
}

func judge(v driver.Value, fault *driver.Error) (driver.Sample, bool) {
	if fault != nil {
		return driver.Faulted(fault), true
	}
	return driver.GoodSample(v), true
}

// fromBytes takes a whole payload.
func (a *address) fromBytes(b []byte) (driver.Value, *driver.Error) {
	switch a.kind {
	case raw:
		return driver.BytesValue(bytes.Clone(b)), nil
	case text:
		return textValue(string(b))
	case auto:
		if f, ok := parseNumber(strings.TrimSpace(string(b))); ok {
			return driver.Float64Value(f), nil
		}
		return textValue(string(b))
	default:
		return scalar(a.kind, strings.TrimSpace(string(b)))
	}
}

// fromJSON takes one field of a document.
func (a *address) fromJSON(field any) (driver.Value, *driver.Error) {
	switch v := field.(type) {
	case bool:
		switch a.kind {
		case auto, boolean:
			return driver.BoolValue(v), nil
		case text:
			return driver.StringValue(strconv.FormatBool(v)), nil
		}
	case json.Number:
		switch a.kind {
		case auto:
			return scalar(number, v.String())
		case text:
			return driver.StringValue(v.String()), nil
		default:
			return scalar(a.kind, v.String())
		}
	case string:
		if a.kind == auto || a.kind == text {
			return textValue(v)
		}
		return scalar(a.kind, strings.TrimSpace(v))
	case nil:
		return driver.Value{}, driver.Errorf(driver.Protocol, "%s is null", a.path)
	}
	return driver.Value{}, driver.Errorf(driver.Protocol, "%s is %s: %s expected", a.path, jsonKind(field), a.kind)
}

func jsonKind(field any) string {
	switch field.(type) {
	case bool:
		return "a bool"
	case map[string]any:
		return "an object"
	default:
		return "an array"
	}
}

func (k kind) String() string {
	for name, other := range kinds {
		if k == other && k != auto {
			return "a value of type " + name
		}
	}
	return "a number, text or bool"
}

func textValue(s string) (driver.Value, *driver.Error) {
	if !utf8.ValidString(s) {
		return driver.Value{}, driver.Errorf(driver.Protocol, "payload %s is no UTF-8 text", excerpt([]byte(s)))
	}
	return driver.StringValue(strings.Clone(s)), nil
}

// scalar reads a number, an integer or a bool from its text.
func scalar(k kind, s string) (driver.Value, *driver.Error) {
	switch k {
	case number:
		if f, ok := parseNumber(s); ok {
			return driver.Float64Value(f), nil
		}
	case integer:
		if v, ok := parseInteger(s); ok {
			return v, nil
		}
	case boolean:
		switch strings.ToLower(s) {
		case "true", "on", "1":
			return driver.BoolValue(true), nil
		case "false", "off", "0":
			return driver.BoolValue(false), nil
		}
	}
	return driver.Value{}, driver.Errorf(driver.Protocol, "payload %s is not %s", excerpt([]byte(s)), k)
}

// parseNumber reads a finite decimal number. What strconv takes beyond that (hex,
// "infinity", "nan", underscores) is text that a device does not mean as a number.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 || strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// parseInteger reads a whole number, exactly.
func parseInteger(s string) (driver.Value, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return driver.Int64Value(n), true
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return driver.Uint64Value(n), true
	}
	// 21.0 and 2e3 are whole too; above 2^53 a float64 is not exact any more.
	if f, ok := parseNumber(s); ok && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return driver.Int64Value(int64(f)), true
	}
	return driver.Value{}, false
}

// payloadOf is what a write of v publishes.
func (a *address) payloadOf(v driver.Value) ([]byte, *driver.Error) {
	v, fault := a.written(v)
	if fault != nil {
		return nil, fault
	}
	switch {
	case a.path != nil:
		return a.path.wrap(v.AppendJSON(nil)), nil
	case v.Kind() == driver.KindBytes:
		return v.Bytes(), nil
	case v.Kind() == driver.KindString:
		return []byte(v.Str()), nil
	default:
		return v.AppendJSON(nil), nil // without an exponent where it can be avoided
	}
}

// written turns v into the kind of the point.
func (a *address) written(v driver.Value) (driver.Value, *driver.Error) {
	f, isNumber := v.AsFloat64()
	ok := v.Kind() != driver.KindNull && (!isNumber || !math.IsNaN(f) && !math.IsInf(f, 0))
	switch a.kind {
	case auto:
		ok = ok && (a.path == nil || v.Kind() != driver.KindBytes)
	case number:
		ok = ok && isNumber
	case integer:
		n, whole := v.AsInt64()
		if whole {
			return driver.Int64Value(n), nil
		}
		u, whole := v.AsUint64()
		v, ok = driver.Uint64Value(u), whole
	case text:
		ok = ok && v.Kind() != driver.KindBytes
		v = driver.StringValue(v.String())
	case boolean:
		b, isBool := v.AsBool()
		v, ok = driver.BoolValue(b), isBool
	case raw:
		if v.Kind() == driver.KindString {
			v = driver.BytesValue([]byte(v.Str()))
		}
		ok = v.Kind() == driver.KindBytes
	}
	if !ok {
		return v, driver.Errorf(driver.BadValue, "%s can't be written as %s", v.Kind(), a.kind)
	}
	return v, nil
}

// excerpt quotes the beginning of foreign bytes for an error text.
func excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}
