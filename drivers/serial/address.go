package serial

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// address is a parsed point address; see the package comment.
type address struct {
	source string // empty: can't be read
	field  string
	kind   kind
	write  string       // empty: can't be written
	binary *binaryField // nil: the field is text
}

const maxAddress = 1024

func parseAddress(s string) (*address, error) {
	if len(s) > maxAddress || !utf8.ValidString(s) {
		return nil, fmt.Errorf("the address is no text of at most %d bytes", maxAddress)
	}
	a := &address{}
	words := strings.Fields(s)
	if len(words) > 0 && !strings.HasPrefix(words[0], "set=") {
		if err := a.parseRead(words[0]); err != nil {
			return nil, err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		name, ok := strings.CutPrefix(words[0], "set=")
		if !ok || name == "" || len(words) > 1 {
			return nil, fmt.Errorf("%q is not understood: after the field only set=WRITE may follow", strings.Join(words, " "))
		}
		a.write = name
	}
	if a.source == "" && a.write == "" {
		return nil, fmt.Errorf("address %q names nothing: write REQUEST:FIELD, for example measure:temp, or set=WRITE", s)
	}
	return a, nil
}

// parseRead reads source:field:type, or a type alone.
func (a *address) parseRead(s string) error {
	parts := strings.Split(s, ":")
	var known bool
	switch len(parts) {
	case 1:
		if a.kind, known = parseKind(s); known {
			return nil
		}
		return fmt.Errorf("%q has no field: write REQUEST:FIELD, for example %s:1", s, s)
	case 2:
	case 3:
		if a.kind, known = parseKind(parts[2]); !known {
			var err error
			if a.binary, err = parseBinary(parts[1], parts[2]); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%q has more than a request, a field and a type", s)
	}
	a.source, a.field = parts[0], parts[1]
	if a.source == "" || a.field == "" {
		return fmt.Errorf("%q is not of the form REQUEST:FIELD", s)
	}
	return nil
}

// extractor takes fields out of lines of one form.
type extractor struct {
	expect *pattern // nil: every line
	split  string   // empty: fields are groups of expect
	head   []int16  // the bytes that it begins with, -1 for any; nil: any
}

// matches reports whether a line is of the form.
func (x *extractor) matches(s string) bool {
	return matchesHead(x.head, s) && (x.expect == nil || x.expect.MatchString(s))
}

// apart reports whether no line is of both forms, as far as can be told.
func (x *extractor) apart(other *extractor) bool {
	for i := range min(len(x.head), len(other.head)) {
		if a, b := x.head[i], other.head[i]; a >= 0 && b >= 0 && a != b {
			return true
		}
	}
	return apart(x.expect, other.expect)
}

// index finds the place of a field in what fields returns.
func (x *extractor) index(field string) (int, error) {
	n, err := strconv.ParseUint(field, 10, 16)
	switch {
	case err == nil && (n == 0 || x.split != ""):
		return int(n), nil
	case x.split != "":
		return 0, fmt.Errorf("column %q is no number: columns of split count from 1", field)
	case x.expect == nil:
		return 0, fmt.Errorf("field %q needs an expect with groups, or a split: without them there is only 0, the whole line", field)
	case err == nil && int(n) <= x.expect.NumSubexp():
		return int(n), nil
	case err == nil:
		return 0, fmt.Errorf("expect %q has %d groups, and no group %s", x.expect, x.expect.NumSubexp(), field)
	}
	i := slices.Index(x.expect.SubexpNames(), field)
	if i < 0 {
		return 0, fmt.Errorf("expect %q has no group named %s: write (?P<%s>...)", x.expect, field, field)
	}
	return i, nil
}

// fields takes a line apart: 0 is the line, the others are groups or columns. ok is
// false when the line does not match.
func (x *extractor) fields(s string) (list []string, ok bool) {
	if !matchesHead(x.head, s) {
		return nil, false
	}
	if x.expect != nil {
		if list = x.expect.FindStringSubmatch(s); list == nil {
			return nil, false
		}
	}
	switch x.split {
	case "":
		if list == nil {
			return []string{s}, true
		}
		list[0] = s // the line, not only what matched
		return list, true
	case " ":
		return append([]string{s}, strings.Fields(s)...), true
	default:
		return append([]string{s}, strings.Split(s, x.split)...), true
	}
}
