package config

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
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

// secretPrefix begins a setting that names a secret in the place of its value.
const secretPrefix = "secret:"

// Secret is a secret that links name, and where the first of them does.
type Secret struct {
	Name  string
	place place
	trail *trail
}

// secret notes a setting that names a secret.
func (e *settingsEncoder) secret(n *node, text string) {
	name, is := strings.CutPrefix(text, secretPrefix)
	if !is || e.seen[name] {
		return
	}
	e.seen[name] = true
	if err := checkName(name); err != nil {
		e.fault(n, "names a secret, but wrongly: %s", err)
		return
	}
	e.secrets = append(e.secrets, Secret{Name: name, place: n.place, trail: n.trail})
}

// SecretNames returns the names of the secrets that the settings of the link or of
// its devices mention, sorted.
func (l *Link) SecretNames() []string {
	found := map[string]bool{}
	var before *byte // devices of one make share their settings
	for _, d := range l.Devices {
		if len(d.Settings) > 0 && &d.Settings[0] != before {
			before = &d.Settings[0]
			secretsIn(d.Settings, found)
		}
	}
	secretsIn(l.Settings, found)
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func secretsIn(settings json.RawMessage, found map[string]bool) {
	if !bytes.Contains(settings, []byte(secretPrefix)) {
		return
	}
	var value any
	if json.Unmarshal(settings, &value) == nil {
		gatherSecrets(value, found)
	}
}

func gatherSecrets(value any, found map[string]bool) {
	switch v := value.(type) {
	case string:
		if name, is := strings.CutPrefix(v, secretPrefix); is {
			found[name] = true
		}
	case []any:
		for _, item := range v {
			gatherSecrets(item, found)
		}
	case map[string]any:
		for _, item := range v {
			gatherSecrets(item, found)
		}
	}
}
