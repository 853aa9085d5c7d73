package config

import (
	"encoding/json"
	"strconv"
)

// A settingsEncoder makes JSON of the keys that are a driver's, and notes the secrets that
// they name.
type settingsEncoder struct {
	values
	seen    map[string]bool // names of secrets
	secrets []Secret
}

// raw returns settings as JSON. Where they depend on no range, all that are made of one
// definition share the bytes.
func (e *settingsEncoder) raw(fields []field, shared *json.RawMessage, s scope) json.RawMessage {
	if *shared != nil {
		return *shared
	}
	raw := e.appendFields(nil, fields, s)
	var uses variables
	for i := range fields {
		uses |= fields[i].value.uses()
	}
	if uses == 0 {
		*shared = raw
	}
	return raw
}

func (e *settingsEncoder) appendFields(dst []byte, fields []field, s scope) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, f.key)
		dst = append(dst, ':')
		dst = e.appendNode(dst, f.value, s)
	}
	return append(dst, '}')
}

func (e *settingsEncoder) appendNode(dst []byte, n *node, s scope) []byte {
	switch n.kind {
	case kindMap:
		if len(n.fields) == 1 && n.fields[0].value.kind == kindNull {
			e.wrongKind(n, "a value")
			return append(dst, "null"...)
		}
		return e.appendFields(dst, n.fields, s)
	case kindList:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.appendNode(dst, item, s)
		}
		return append(dst, ']')
	}
	v, ok := e.scalar(n, s, "a value")
	switch {
	case !ok:
		return append(dst, "null"...)
	case v.kind == kindText:
		e.secret(n, v.text)
		return appendString(dst, v.text)
	}
	return append(dst, v.text...)
}

func appendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(dst, quoted...)
		}
	}
	return strconv.AppendQuote(dst, s)
}
