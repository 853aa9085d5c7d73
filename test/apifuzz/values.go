package apifuzz

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A care says how well a value keeps to its schema.
type care int

const (
	valid   care = iota
	near         // one thing beside it
	hostile      // whatever does harm elsewhere
)

// A maker makes values. It is one goroutine's.
type maker struct {
	*rand.Rand
	doc   *document
	names []string // of what the gateway has
}

func (m *maker) pick(list ...string) string { return list[m.IntN(len(list))] }

// text that breaks terminals, paths, patterns, numbers, encodings.
func (m *maker) evil() string {
	switch m.IntN(6) {
	case 0:
		return strings.Repeat(m.pick("a", "*", "[", "/", "?*", "%", "\u202e", "é", "\x00", "..//", "{}", "[a-z]"), 1<<m.IntN(16))
	case 1:
		random := make([]byte, m.IntN(64))
		for i := range random {
			random[i] = byte(m.Uint32())
		}
		return string(random)
	case 2: // two names become one that is not there, or a pattern
		return m.pick(m.names...) + m.pick("/", "/*", "\x00", "\n", "@", "?", "/../", " ") + m.pick(m.names...)
	default:
		return m.pick("", " ", ".", "..", "../../../etc/passwd", "/", "//", "///", "*", "**", "*/*/*", "[", "]", "[^", "\\", "a[/b", "[]a]", "[z-a]",
			"\x1b[2J", "\x1b]0;x\x07", "\u009b31m", "\u202eabc", "\u2066x\u2069", "\x7f", "\r\nX: y", "%00", "%2e%2e%2f", "%zz", "\xff\xfe", "\xed\xa0\x80", "'; DROP", "${PATH}",
			"null", "true", "NaN", "Infinity", "-0", "1e999", "1e-999", "0x10", "18446744073709551616", "-9223372036854775809", "0.0000001ms", "-1s", "1e9h",
			"2026-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "+292277026596-12-04T15:30:08Z", "default", "latest", "@", "a@b@c")
	}
}

// value is JSON, or for a parameter what text makes of it.
func (m *maker) value(s *schema, c care, depth int) any {
	s = m.doc.resolve(s)
	if c == hostile && m.IntN(3) > 0 || depth > 8 {
		return m.harm(depth)
	}
	if c == near && m.IntN(6) == 0 { // of another type
		return []any{nil, true, -1, 0.5, "x", []any{}, map[string]any{}, []any{nil}}[m.IntN(8)]
	}
	switch {
	case len(s.Enum) > 0 && c == valid:
		return s.Enum[m.IntN(len(s.Enum))]
	case len(s.Examples) > 0 && m.IntN(3) == 0:
		return s.Examples[m.IntN(len(s.Examples))]
	}
	switch s.Type.first() {
	case "object":
		return m.object(s, c, depth)
	case "array":
		return m.array(s, c, depth)
	case "string":
		return m.string(s, c)
	case "integer", "number":
		return m.number(s, c)
	case "boolean":
		return m.IntN(2) == 0
	}
	return []any{m.number(s, c), m.string(s, c), true, false, nil}[m.IntN(5)]
}

// harm is JSON of any kind.
func (m *maker) harm(depth int) any {
	switch m.IntN(8) {
	case 0:
		return m.pickNumber()
	case 1:
		if depth > 4 {
			return nil
		}
		list := make([]any, m.IntN(20))
		for i := range list {
			list[i] = m.harm(depth + 1)
		}
		return list
	case 2:
		if depth > 4 {
			return nil
		}
		return map[string]any{m.evil(): m.harm(depth + 1), "": m.harm(depth + 1)}
	case 3:
		return nil
	case 4: // as deep as a stack may be
		return json.RawMessage(strings.Repeat("[", 1<<m.IntN(14)))
	}
	return m.evil()
}

func (m *maker) pickNumber() json.RawMessage {
	return json.RawMessage(m.pick("0", "-0", "1", "-1", "0.1", "1e999", "-1e999", "1e-999", "9223372036854775807", "9223372036854775808", "18446744073709551616",
		"1e308", "0.30000000000000004", strings.Repeat("9", 1000), "0."+strings.Repeat("0", 500)+"1", "10001", "4294967296", "00", "1.", "NaN", "0x1", "+1"))
}

func (m *maker) object(s *schema, c care, depth int) any {
	object := make(map[string]any)
	names := slices.Sorted(maps.Keys(s.Properties))
	for _, name := range names {
		required := slices.Contains(s.Required, name)
		if !required && m.IntN(2) == 0 || c != valid && m.IntN(10) == 0 {
			continue
		}
		object[name] = m.value(s.Properties[name], c, depth+1)
	}
	if c != valid && m.IntN(8) == 0 {
		object[m.evil()] = m.harm(depth + 1)
	}
	return object
}

func (m *maker) array(s *schema, c care, depth int) any {
	least, most := 0, 4
	if s.MinItems != nil {
		least = *s.MinItems
	}
	if s.MaxItems != nil {
		most = min(most, *s.MaxItems)
	}
	n := least + m.IntN(max(1, most-least+1))
	switch {
	case c == near && m.IntN(6) == 0:
		n = max(0, least-1)
	case c != valid && s.MaxItems != nil && m.IntN(6) == 0:
		n = *s.MaxItems + 1
	case c == hostile && m.IntN(20) == 0:
		n = 20_000
	}
	list := make([]any, n)
	var same any
	for i := range list {
		if i < 100 {
			same = m.value(s.Items, c, depth+1)
		}
		list[i] = same
	}
	return list
}

func (m *maker) string(s *schema, c care) string {
	switch {
	case s.Format == "date-time" && c == valid:
		return time.Now().Add(-time.Duration(m.Int64N(int64(time.Hour)))).UTC().Format(time.RFC3339Nano)
	case c == hostile:
		return m.evil()
	case c == near && len(s.Enum) > 0:
		return strings.ToUpper(fmt.Sprint(s.Enum[m.IntN(len(s.Enum))]))
	case c == near && s.MaxLength != nil && m.IntN(3) == 0:
		return strings.Repeat("a", *s.MaxLength+m.IntN(3)-1)
	case c == near && m.IntN(3) == 0:
		name := []rune(m.pick(m.names...))
		name[m.IntN(len(name))] = rune(m.IntN(0x3000))
		return string(name)
	}
	if pattern, err := regexp.Compile(s.Pattern); err == nil && c == valid {
		fits := slices.DeleteFunc(slices.Clone(m.names), func(name string) bool { return !pattern.MatchString(name) })
		if len(fits) > 0 {
			return m.pick(fits...)
		}
	}
	return m.pick(m.names...)
}

func (m *maker) number(s *schema, c care) any {
	least, most := -10.0, 300.0
	if s.Minimum != nil {
		least = *s.Minimum
	}
	if s.Maximum != nil {
		most = *s.Maximum
	}
	switch {
	case c == hostile:
		return m.pickNumber()
	case c == near && m.IntN(2) == 0:
		return []float64{least - 1, most + 1, least, most, least + 0.5, math.MaxInt64}[m.IntN(6)]
	}
	return math.Trunc(least + m.Float64()*(most-least))
}
