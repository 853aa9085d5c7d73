package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// values reads what nodes say, and reports what is wrong with it at their places. Where it is
// wrong, what comes back can be gone on with.
type values struct{ *faults }

// fault reports something wrong with a value.
func (vs values) fault(n *node, format string, args ...any) {
	vs.add(n.place, n.trail.String(), format, args...)
}

// faultAt reports something wrong with a field as a whole, at its key.
func (vs values) faultAt(f field, format string, args ...any) {
	vs.add(f.place, f.value.trail.String(), format, args...)
}

// entries returns the fields of a map that may be missing.
func (vs values) entries(n *node, want string) []field {
	if n != nil && n.kind != kindMap {
		vs.wrongKind(n, want)
		return nil
	}
	return n.mapFields()
}

// unknownKeys reports keys that are not known. elsewhere are keys that belong
// to another place, for which the hint is meant; it may be nil.
func (vs values) unknownKeys(n *node, known, elsewhere []string, hint string) {
	for _, f := range n.fields {
		switch {
		case slices.Contains(known, f.key):
		case slices.Contains(elsewhere, f.key):
			vs.faultAt(f, "%s", hint)
		default:
			vs.faultAt(f, "unknown key%s: %s", suggest(f.key, known), use(known))
		}
	}
}

// wrongKind reports a value that is not of the kind that the key wants.
func (vs values) wrongKind(n *node, want string) {
	switch {
	case n.kind == kindNull:
		vs.fault(n, "has no value: write %s, or remove the key", want)
	case n.kind == kindMap && len(n.fields) == 1 && n.fields[0].value.kind == kindNull:
		vs.fault(n, "wants %s, but this is a map: put the placeholder in quotes, \"{%s}\"", want, n.fields[0].key)
	case strings.HasPrefix(want, "a map"):
		vs.fault(n, "wants %s, but this is %s: write lines of `KEY: VALUE` below it", want, n.kind)
	case n.kind == kindMap || n.kind == kindList:
		vs.fault(n, "wants %s, but this is %s: write one value", want, n.kind)
	case want == wantText:
		vs.fault(n, "wants %s, but %s is %s: put it in quotes", want, n.text, n.kind)
	default:
		vs.fault(n, "wants %s, but %s is %s: change it", want, quoteIfText(n), n.kind)
	}
}

func quoteIfText(n *node) string {
	if n.kind == kindText {
		return strconv.Quote(shorten(n.text))
	}
	return n.text
}

// shorten keeps a message on one screen.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// scalar evaluates a value that is not a list or a map.
func (vs values) scalar(n *node, s scope, want string) (scalar, bool) {
	if n.kind == kindNull || n.kind == kindList || n.kind == kindMap {
		vs.wrongKind(n, want)
		return scalar{}, false
	}
	v, err := n.eval(s)
	if err != nil {
		vs.fault(n, "%s", err)
		return scalar{}, false
	}
	return v, true
}

const wantText = "a text"

// text evaluates a text. What a placeholder makes is a text too.
func (vs values) text(n *node, s scope) string {
	v, ok := vs.scalar(n, s, wantText)
	if ok && v.kind != kindText && n.words == nil {
		vs.wrongKind(n, wantText)
	}
	vs.replacesNothing(n)
	return v.text
}

func (vs values) oneOf(n *node, s scope, words []string) int {
	v, ok := vs.scalar(n, s, "one of "+list(words))
	if !ok {
		return 0
	}
	i := slices.Index(words, v.text)
	if i < 0 {
		vs.fault(n, "%q is unknown%s: use one of %s", shorten(v.text), suggest(v.text, words), list(words))
		return 0
	}
	return i
}

// boolean evaluates true or false.
func (vs values) boolean(n *node) bool {
	const want = "true or false"
	v, ok := vs.scalar(n, scope{}, want)
	if ok && v.kind != kindBool {
		vs.wrongKind(n, want)
	}
	return v.kind == kindBool && v.text == "true"
}

// whole evaluates a whole number from least to most.
func (vs values) whole(n *node, least, most int) int {
	const want = "a whole number"
	v, ok := vs.scalar(n, scope{}, want)
	if !ok {
		return least
	}
	i, err := strconv.Atoi(v.text)
	switch {
	case v.kind != kindInteger:
		vs.wrongKind(n, want)
	case err != nil || i < least || i > most:
		vs.fault(n, "%s is out of range: use %d to %d", shorten(v.text), least, most)
	default:
		return i
	}
	return least
}

// float evaluates a number. A constant one is the same pointer every time.
func (vs values) float(n *node, s scope) *float64 {
	if n.number != nil {
		return n.number
	}
	v, ok := vs.scalar(n, s, "a number")
	if !ok {
		return nil
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if v.kind != kindInteger && v.kind != kindNumber || err != nil {
		vs.fault(n, "wants a number, but %q is %s: write digits without quotes or units", shorten(v.text), v.kind)
		return nil
	}
	if n.words == nil {
		n.number = &f
	}
	return &f
}

func (vs values) duration(n *node, s scope, least, most time.Duration) time.Duration {
	const want = "a duration such as 100ms, 5s, 1m30s or 7d"
	v, ok := vs.scalar(n, s, want)
	if !ok {
		return least
	}
	d, err := parseDuration(v.text)
	switch {
	case err != nil:
		vs.fault(n, "%s: write %s", err, want)
	case d < least || d > most:
		vs.fault(n, "%s is out of range: use %s to %s", v.text, formatDuration(least), formatDuration(most))
	default:
		return d
	}
	return least
}

func (vs values) size(n *node, s scope, least int64) int64 {
	const want = "a size such as 500MB or 2GiB"
	v, ok := vs.scalar(n, s, want)
	if !ok {
		return least
	}
	size, err := parseSize(v.text)
	switch {
	case err != nil:
		vs.fault(n, "%s: write %s", err, want)
	case size < least:
		vs.fault(n, "%s is too small: use at least %s", v.text, formatSize(least))
	default:
		return size
	}
	return least
}

var durationUnits = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// parseDuration reads numbers with units, the largest first by custom only:
// 1m30s, 1.5h, 7d. A bare 0 needs no unit.
func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	var sum float64
	rest := text
	for first := true; rest != "" || first; first = false {
		digits, unit, after := splitUnit(rest)
		f, err := strconv.ParseFloat(digits, 64)
		u, known := durationUnits[unit]
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a duration", shorten(text))
		case unit == "":
			return 0, fmt.Errorf("%s has no unit", shorten(text))
		case !known:
			return 0, fmt.Errorf("%q has the unknown unit %q", shorten(text), shorten(unit))
		}
		if sum += f * float64(u); sum > math.MaxInt64/2 {
			return 0, fmt.Errorf("%q is too long", shorten(text))
		}
		rest = after
	}
	d := time.Duration(math.Round(sum))
	if d == 0 && vanishes(text) {
		return 0, fmt.Errorf("%q would be 0: the shortest is 1ns", shorten(text))
	}
	return d, nil
}

// vanishes reports whether a number's digits are not all zero, so that it must not become
// 0, which means something else in most places.
func vanishes(digits string) bool { return strings.ContainsAny(digits, "123456789") }

// ParseDuration reads a duration as the configuration has it: 1m30s, 7d, 2w.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }

// splitUnit cuts a number and the letters after it off the front of s.
func splitUnit(s string) (digits, unit, rest string) {
	rest = strings.TrimLeft(s, "0123456789.")
	digits = s[:len(s)-len(rest)]
	end := strings.IndexAny(rest, "0123456789.")
	if end < 0 {
		end = len(rest)
	}
	return digits, rest[:end], rest[end:]
}

// formatDuration is time.Duration's String without the zeros at its end.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

var sizeUnits = map[string]int64{
	"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads one number with a unit: 500MB, 1.5GiB.
func parseSize(text string) (int64, error) {
	digits, unit, rest := splitUnit(text)
	unit = strings.TrimPrefix(unit, " ")
	f, err := strconv.ParseFloat(digits, 64)
	u, known := sizeUnits[unit]
	switch {
	case err != nil || rest != "":
		return 0, fmt.Errorf("%q is not a size", shorten(text))
	case unit == "":
		return 0, fmt.Errorf("%s has no unit", shorten(text))
	case !known:
		return 0, fmt.Errorf("%q has the unknown unit %q", shorten(text), shorten(unit))
	case f*float64(u) > 1<<60:
		return 0, fmt.Errorf("%q is too large", shorten(text))
	}
	size := int64(f * float64(u))
	if size == 0 && vanishes(digits) {
		return 0, fmt.Errorf("%q would be 0: the smallest is 1B", shorten(text))
	}
	return size, nil
}

func formatSize(n int64) string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if u := sizeUnits[unit]; n >= u && n%u == 0 {
			return strconv.FormatInt(n/u, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
