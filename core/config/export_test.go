package config

import "time"

// Limits for tests that pass them, and for fuzzing, which must not fill memory.
type Limits struct{ File, Total, Files, Links, Devices, Points, Written int }

// ParseWithin is Parse with other limits.
func ParseWithin(files map[string][]byte, l Limits) (*Config, error) {
	return parse("", fromMap(files), limits{
		file: int64(l.File), total: int64(l.Total), files: l.Files,
		links: l.Links, devices: l.Devices, points: l.Points, written: l.Written,
	})
}

// SectionKeys returns the sections and the keys in them, as SECTION or SECTION.KEY.
func SectionKeys() (keys []string) {
	for _, s := range allSections {
		keys = append(keys, s.key)
		for _, k := range s.keys {
			keys = append(keys, s.key+"."+k.name)
		}
	}
	return keys
}

// EvalExpr evaluates an expression with all three variables set.
func EvalExpr(text string, n, d, l int64) (int64, error) {
	e, _, err := parseExpr(text)
	if err != nil {
		return 0, err
	}
	return e.eval(scope{count{n, true}, count{d, true}, count{l, true}})
}

// EvalWords replaces placeholders with all three variables set.
func EvalWords(text string, n, d, l int64) (string, error) {
	w, err := parseWords(text)
	if err != nil || w == nil {
		return text, err
	}
	return w.eval(scope{count{n, true}, count{d, true}, count{l, true}})
}

// ExpandName returns the names that a name with a range stands for, at most limit.
func ExpandName(text string, limit int64) (names []string, size int64, err error) {
	s, err := parseSpan(text)
	if err != nil {
		return nil, 0, err
	}
	for name := range s.names() {
		if int64(len(names)) == limit {
			break
		}
		names = append(names, name)
	}
	return names, s.size(), nil
}

func FormatDuration(d time.Duration) string { return formatDuration(d) }

func ParseSize(text string) (int64, error) { return parseSize(text) }

func FormatSize(n int64) string { return formatSize(n) }
