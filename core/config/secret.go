package config

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

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

// Secrets returns every secret that links name, each once, in the order of the files.
func (c *Config) Secrets() []Secret { return slices.Clone(c.secrets) }

// SecretFault returns an error at the place where s is named.
func (c *Config) SecretFault(s Secret, text string) *driver.ConfigError {
	return &driver.ConfigError{Text: text, Place: s.place.named(c.names, s.trail.String())}
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
