package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// path leads from a JSON document to one value in it.
type path []step

// step is one step of a path: a field of an object, or an element of an array.
type step struct {
	key   string
	index int // -1: the step is key
}

const maxPathSteps = 32

// parsePath reads a path of the grammar in the package comment.
func parsePath(s string) (path, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("path %q is no UTF-8 text", s)
	}
	if !strings.HasPrefix(s, "$") {
		return nil, fmt.Errorf("path %q does not begin with $", s)
	}
	p := path{}
	for rest := s[1:]; rest != ""; {
		st, tail, err := parseStep(rest)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", s, err)
		}
		if p = append(p, st); len(p) > maxPathSteps {
			return nil, fmt.Errorf("path %q has more than %d steps", s, maxPathSteps)
		}
		rest = tail
	}
	return p, nil
}

func parseStep(s string) (st step, rest string, err error) {
	switch s[0] {
	case '.':
		end := strings.IndexAny(s[1:], `.[]" `)
		if end < 0 {
			end = len(s) - 1
		}
		if end == 0 {
			return st, "", errors.New(`a name must follow "."; write others as ["name"]`)
		}
		return step{key: s[1 : 1+end], index: -1}, s[1+end:], nil
	case '[':
		return parseBracket(s[1:])
	default:
		return st, "", fmt.Errorf(`%q: "." or "[" expected`, s)
	}
}

func parseBracket(s string) (st step, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, tail, err := cutQuoted(s)
		if err != nil {
			return st, "", err
		}
		if !strings.HasPrefix(tail, "]") {
			return st, "", errors.New(`"]" expected after the name`)
		}
		return step{key: quoted, index: -1}, tail[1:], nil
	}
	digits, tail, closed := strings.Cut(s, "]")
	if !closed {
		return st, "", errors.New(`"]" is missing`)
	}
	n, err := strconv.ParseUint(digits, 10, 24)
	if err != nil {
		return st, "", fmt.Errorf("index %q is no whole number below 16777216", digits)
	}
	return step{index: int(n)}, tail, nil
}

// cutQuoted takes the JSON string that s begins with, and returns what follows it.
func cutQuoted(s string) (text, rest string, err error) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			if err := json.Unmarshal([]byte(s[:i+1]), &text); err != nil {
				return "", "", fmt.Errorf("%s is no JSON string", s[:i+1])
			}
			return text, s[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("the quote of %s is not closed", s)
}

// find follows the path; ok is false where it leads nowhere.
func (p path) find(doc any) (v any, ok bool) {
	for _, st := range p {
		switch at := doc.(type) {
		case map[string]any:
			if st.index >= 0 {
				return nil, false
			}
			if doc, ok = at[st.key]; !ok {
				return nil, false
			}
		case []any:
			if st.index < 0 || st.index >= len(at) {
				return nil, false
			}
			doc = at[st.index]
		default:
			return nil, false
		}
	}
	return doc, true
}

// wrap puts a JSON value where the path leads to, in objects of one field each.
// Only names can be wrapped: see writable.
func (p path) wrap(value []byte) []byte {
	var b bytes.Buffer
	for _, st := range p {
		key, _ := json.Marshal(st.key) // a string always marshals
		b.WriteByte('{')
		b.Write(key)
		b.WriteByte(':')
	}
	b.Write(value)
	for range p {
		b.WriteByte('}')
	}
	return b.Bytes()
}

// writable reports whether wrap can be used.
func (p path) writable() bool {
	for _, st := range p {
		if st.index >= 0 {
			return false
		}
	}
	return true
}

func (p path) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, st := range p {
		if st.index >= 0 {
			fmt.Fprintf(&b, "[%d]", st.index)
			continue
		}
		key, _ := json.Marshal(st.key) // a string always marshals
		fmt.Fprintf(&b, "[%s]", key)
	}
	return b.String()
}

// decodeJSON reads exactly one JSON document and keeps its numbers as they are
// written, so that an integer above 2^53 stays exact.
func decodeJSON(payload []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows the document")
	}
	return doc, nil
}
