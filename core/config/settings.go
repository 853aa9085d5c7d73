package config

import (
	"encoding/json"
	"strconv"
)

// rawSettings returns settings as JSON. Where they depend on no range, all that
// are made of one definition share the bytes.
func (b *builder) rawSettings(fields []field, shared *json.RawMessage, s scope) json.RawMessage {
	if *shared != nil {
		return *shared
	}
	raw := b.appendFields(nil, fields, s)
	var uses variables
	for i := range fields {
		uses |= fields[i].value.uses()
	}
	if uses == 0 {
		*shared = raw
	}
	return raw
}

func (b *builder) appendFields(dst []byte, fields []field, s scope) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, f.key)
		dst = append(dst, ':')
		dst = b.appendNode(dst, f.value, s)
	}
	return append(dst, '}')
}

func (b *builder) appendNode(dst []byte, n *node, s scope) []byte {
	switch n.kind {
	case kindMap:
		if len(n.fields) == 1 && n.fields[0].value.kind == kindNull {
			b.wrongKind(n, "a value")
			return append(dst, "null"...)
		}
		return b.appendFields(dst, n.fields, s)
	case kindList:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = b.appendNode(dst, item, s)
		}
		return append(dst, ']')
	}
	v, ok := b.scalar(n, s, "a value")
	switch {
	case !ok:
		return append(dst, "null"...)
	case v.kind == kindText:
		b.secret(n, v.text)
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
