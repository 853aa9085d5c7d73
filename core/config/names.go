package config

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

const (
	maxName  = 128
	maxDigit = 12 // of a number in a range
)

// A span is a name, or the many names that a range such as m[001..100] stands for.
type span struct {
	prefix, suffix string
	first, last    int64
	width          int // of the number; 0: no zeros before it
	ranged         bool
}

func (s span) size() int64 {
	if !s.ranged {
		return 1
	}
	return s.last - s.first + 1
}

// names counts the span out.
func (s span) names() iter.Seq2[string, count] {
	return func(yield func(string, count) bool) {
		if !s.ranged {
			yield(s.prefix, count{})
			return
		}
		for n := s.first; n <= s.last; n++ {
			if !yield(s.name(n), count{n, true}) {
				return
			}
		}
	}
}

func (s span) name(n int64) string {
	if s.width == 0 {
		return s.prefix + strconv.FormatInt(n, 10) + s.suffix
	}
	return fmt.Sprintf("%s%0*d%s", s.prefix, s.width, n, s.suffix)
}

// parseSpan reads a name with at most one range.
func parseSpan(text string) (span, error) {
	prefix, rest, ranged := strings.Cut(text, "[")
	if !ranged {
		return span{prefix: text}, checkName(text)
	}
	inner, suffix, closed := strings.Cut(rest, "]")
	from, to, dots := strings.Cut(inner, "..")
	if !closed || !dots || strings.ContainsAny(suffix, "[]") {
		return span{}, fmt.Errorf("%q is not a range: write one range, such as m[1..10]", text)
	}
	s := span{prefix: prefix, suffix: suffix, ranged: true}
	var err error
	if s.first, err = parseBound(text, from); err != nil {
		return span{}, err
	}
	if s.last, err = parseBound(text, to); err != nil {
		return span{}, err
	}
	if s.last < s.first {
		return span{}, fmt.Errorf("%q counts down: write the smaller number first", text)
	}
	if len(from) > 1 && from[0] == '0' {
		if len(from) != len(to) {
			return span{}, fmt.Errorf("%q has leading zeros of two lengths: write both numbers with as many digits, such as [001..100]", text)
		}
		s.width = len(from)
	}
	return s, checkName(s.name(s.last))
}

func parseBound(text, digits string) (int64, error) {
	if strings.Trim(digits, "0123456789") != "" || digits == "" || len(digits) > maxDigit {
		return 0, fmt.Errorf("%q is not a range: its ends are whole numbers of at most %d digits, such as m[1..10]", text, maxDigit)
	}
	return strconv.ParseInt(digits, 10, 64)
}

// checkName refuses what would be awkward in a path, a pattern or a shell.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty: give it one")
	case len(name) > maxName:
		return fmt.Errorf("the name is %d bytes long: shorten it to at most %d", len(name), maxName)
	case !isWord(name[0]):
		return fmt.Errorf("%q cannot be a name: begin with a letter, a digit or _", name)
	}
	for i, r := range name {
		if r > 0x7f || !isWord(name[i]) && r != '-' && r != '.' {
			return fmt.Errorf("%q cannot be a name because of %q: use letters, digits, ., _ and -", name, r)
		}
	}
	return nil
}
