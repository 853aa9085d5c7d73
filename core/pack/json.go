package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// A value is one JSON value with its place. encoding/json alone is too kind for a
// file that is signed: it takes a key twice, in any case of letters, and the readers
// of two programs could then disagree about what was signed.
type value struct {
	at      int    // offset of its first byte
	kind    byte   // { [ " 0 t (for both truth values) n
	text    string // of a text or number
	members []member
	items   []*value
	raw     []byte
}

type member struct {
	key   string
	at    int
	value *value
}

// get returns a member's value, or nil.
func (v *value) get(key string) *value {
	for i := range v.members {
		if v.members[i].key == key {
			return v.members[i].value
		}
	}
	return nil
}

// A placed error stands at an offset of a file.
type placed struct {
	at   int
	text string
}

func (e *placed) Error() string { return e.text }

// place turns an error's offset into line and column, counted from one in bytes.
func place(name string, data []byte, err error) error {
	var p *placed
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", name, err)
	}
	before := data[:min(p.at, len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("%s:%d:%d: %s", name, line, column, p.text)
}

// parseJSON reads one value and nothing after it.
func parseJSON(data []byte) (*value, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8 text")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil { // the tokens below do not check every comma
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, &placed{max(0, int(syntax.Offset)-1), "is not JSON: " + syntax.Error()}
		}
		return nil, err
	}
	p := &jsonParser{data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	p.decoder.UseNumber()
	return p.value(0)
}

type jsonParser struct {
	data    []byte
	decoder *json.Decoder
}

// maxNesting bounds the recursion; schemas nest deeper than the rest.
const maxNesting = 64

// next returns the next token and where it begins.
func (p *jsonParser) next() (json.Token, int, error) {
	at := int(p.decoder.InputOffset())
	for at < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[at]) >= 0 {
		at++
	}
	t, err := p.decoder.Token()
	if err != nil {
		return nil, at, &placed{at, "is not JSON: " + err.Error()}
	}
	return t, at, nil
}

func (p *jsonParser) value(depth int) (*value, error) {
	t, at, err := p.next()
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, &placed{at, fmt.Sprintf("is nested more than %d deep", maxNesting)}
	}
	v := &value{at: at}
	switch t := t.(type) {
	case json.Delim:
		v.kind = byte(t)
		if t == '{' {
			err = p.object(v, depth)
		} else {
			err = p.array(v, depth)
		}
	case string:
		v.kind, v.text = '"', t
	case json.Number:
		v.kind, v.text = '0', t.String()
	case bool:
		v.kind, v.text = 't', fmt.Sprint(t)
	default:
		v.kind = 'n'
	}
	v.raw = p.data[at:p.decoder.InputOffset()]
	return v, err
}

func (p *jsonParser) object(v *value, depth int) error {
	seen := map[string]bool{}
	for p.decoder.More() {
		t, at, err := p.next()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return &placed{at, "is not JSON: a key must be a text"}
		}
		if seen[key] {
			return &placed{at, fmt.Sprintf("the key %s stands here a second time", quote(key))}
		}
		seen[key] = true
		member := member{key: key, at: at}
		if member.value, err = p.value(depth + 1); err != nil {
			return err
		}
		v.members = append(v.members, member)
	}
	_, _, err := p.next()
	return err
}

func (p *jsonParser) array(v *value, depth int) error {
	for p.decoder.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.items = append(v.items, item)
	}
	_, _, err := p.next()
	return err
}
