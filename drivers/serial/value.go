package serial

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// kind is how a field becomes a value.
type kind uint8

const (
	number kind = iota
	integer
	text
	boolean
	hex
)

var kindNames = [...]string{"number", "integer", "text", "bool", "hex"}

func (k kind) String() string { return kindNames[k] }

func parseKind(s string) (kind, bool) {
	for i, name := range kindNames {
		if s == name {
			return kind(i), true
		}
	}
	return 0, false
}

// sample reads a field as a value of kind k.
func (k kind) sample(field string) driver.Sample {
	if k == text {
		if !utf8.ValidString(field) {
			return driver.Faulted(driver.Errorf(driver.Protocol, "field %s is no UTF-8 text", excerpt(field)))
		}
		return driver.GoodSample(driver.StringValue(strings.Clone(field)))
	}
	v, ok := k.parse(strings.TrimSpace(field))
	if !ok {
		return driver.Faulted(driver.Errorf(driver.Protocol, "field %s is no value of type %s", excerpt(field), k))
	}
	return driver.GoodSample(v)
}

func (k kind) parse(s string) (driver.Value, bool) {
	switch k {
	case number:
		f, ok := parseNumber(s)
		return driver.Float64Value(f), ok
	case integer:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return driver.Int64Value(n), true
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return driver.Uint64Value(n), true
		}
		f, ok := parseNumber(s) // 21.0 is whole too
		return driver.Int64Value(int64(f)), ok && f == math.Trunc(f) && math.Abs(f) <= 1<<53
	case hex:
		if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
			s = s[2:]
		}
		n, err := strconv.ParseUint(s, 16, 64)
		return driver.Uint64Value(n), err == nil
	default:
		switch strings.ToLower(s) {
		case "1", "true", "on":
			return driver.BoolValue(true), true
		case "0", "false", "off":
			return driver.BoolValue(false), true
		}
		return driver.Value{}, false
	}
}

// parseNumber reads a finite decimal number. What strconv takes beyond that (hex,
// "infinity", "nan", underscores) is no number of an instrument.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 || strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// excerpt quotes the beginning of foreign text for an error.
func excerpt(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
