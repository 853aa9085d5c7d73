package pack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/pack"
)

// hash is 64 digits.
var hash = strings.Repeat("a", 64)

// whole is a manifest that is taken, one line a key.
func whole() map[string]string {
	return map[string]string{
		"name": `"d"`, "version": `"1"`, "kind": `"driver"`, "serial": `1`, "api": `{"min": 1, "max": 1}`,
		"files":     `{"x/d": {"sha256": "` + hash + `", "size": 1, "mode": "0755"}}`,
		"platforms": `{"linux/amd64": "x/d"}`,
	}
}

func manifestOf(lines map[string]string) string {
	var b strings.Builder
	b.WriteString("{")
	comma := "\n"
	for _, key := range []string{"name", "version", "kind", "serial", "api", "files", "platforms", "schemas", "endpoints", "wants", "more"} {
		if v, ok := lines[key]; ok && v != "" {
			b.WriteString(comma + `"` + key + `": ` + v)
			comma = ",\n"
		}
	}
	return b.String() + "\n}"
}

func TestManifestIsStrict(t *testing.T) {
	if _, err := pack.ParseManifest([]byte(manifestOf(whole()))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, value, want string }{
		{"name", `7`, `2:9: must be a text`},
		{"name", `"Modbus"`, `2:9: "Modbus" is no name of a driver`},
		{"name", `""`, `2:9: "" is no name of a driver`},
		{"name", ``, `1:1: the manifest has no key "name"`},
		{"version", `"1/2"`, `3:12: "1/2" is no version`},
		{"version", `".1"`, `3:12: ".1" is no version`},
		{"serial", `0`, `5:11: must be a whole number from 1 to`},
		{"serial", `-1`, `5:11: must be a whole number`},
		{"serial", `1.5`, `5:11: must be a whole number`},
		{"serial", `1e3`, `5:11: must be a whole number`},
		{"serial", `9223372036854775808`, `5:11: must be a whole number`},
		{"serial", `"1"`, `5:11: must be a whole number`},
		{"serial", `null`, `5:11: must be a whole number`},
		{"api", `{"min": 3, "max": 2}`, `6:8: api.min is above api.max`},
		{"api", `{"min": 3}`, `6:8: api has no key "max"`},
		{"api", `[]`, `6:8: api must be an object`},
		{"api", `{"min": 1, "max": 1, "x": 1}`, `6:29: api has no key "x": it may have min, max`},
		{"files", `[]`, `7:10: files must be an object`},
		{"files", `{"a//b": {}}`, `7:11: the path "a//b" is not taken`},
		{"files", `{"a\\b": {}}`, `7:11: the path "a\\b" is not taken`},
		{"files", `{"manifest.json": {}}`, `7:11: "manifest.json" cannot list itself`},
		{"files", `{"1/2/3/4/5/6/7/8/9": {}}`, `7:11: the path "1/2/3/4/5/6/7/8/9" is more than 8 deep`},
		{"files", `{"x/d": {"sha256": "` + strings.ToUpper(hash) + `", "size": 1, "mode": "0755"}}`, `is no SHA-256`},
		{"files", `{"x/d": {"sha256": "` + hash + `", "size": 1, "mode": "0777"}}`, `the mode "0777" is not taken`},
		{"files", `{"x/d": {"sha256": "` + hash + `", "size": -1, "mode": "0755"}}`, `must be a whole number from 0`},
		{"platforms", `{}`, `8:14: platforms must be an object with at least one platform`},
		{"platforms", `{"linux": "x/d"}`, `8:15: "linux" is no platform`},
		{"platforms", `{"linux/arm": "x/e"}`, `8:28: the executable "x/e" is not among the files`},
		{"schemas", `{"link": 1}`, `9:21: a JSON Schema must be an object`},
		{"schemas", `{"link": "../../etc/shadow"}`, `9:21: a JSON Schema must be an object`},
		{"wants", `{"tcp": "all"}`, `9:18: wants.tcp must be "from-links" or a list of ports`},
		{"wants", `{"tcp": [0]}`, `9:19: must be a whole number from 1 to 65535`},
		{"wants", `{"files": ["etc"]}`, `9:21: "etc" is no plain absolute path`},
		{"wants", `{"files": ["/etc/../root"]}`, `9:21: "/etc/../root" is no plain absolute path`},
		{"endpoints", `[]`, `9:14: endpoints must be an object with at most 100 schemes`},
		{"endpoints", `{"tcp": 502}`, `9:22: a scheme must be an object`},
		{"endpoints", `{"tcp": {}}`, `9:22: a scheme has no key "over"`},
		{"endpoints", `{"tcp": {"over": "ip"}}`, `9:31: "ip" is no way to an endpoint: write tcp, udp, serial, file, unix or nothing`},
		{"endpoints", `{"tcp": {"over": "tcp", "port": 0}}`, `9:46: must be a whole number from 1 to 65535`},
		{"endpoints", `{"tcp": {"over": "tcp", "host": 0}}`, `a scheme has no key "host": it may have over, port, tls`},
		{"endpoints", `{"TCP": {"over": "tcp"}}`, `9:15: "TCP" is no scheme of URLs: write it as tcp, without ://`},
		{"endpoints", `{"tcp://": {"over": "tcp"}}`, `9:15: "tcp://" is no scheme of URLs`},
		{"endpoints", `{"": {"over": "tcp"}}`, `9:15: "" is no scheme of URLs`},
		{"endpoints", `{"rtu": {"over": "serial", "port": 1}}`, `9:49: only a scheme over tcp or udp has a default port`},
		{"endpoints", `{"rtu": {"over": "serial", "tls": true}}`, `only a scheme over tcp or udp speaks TLS`},
		{"endpoints", `{"host:port": {"over": "tcp", "port": 1}}`, `only a scheme over tcp or udp has a default port`},
		{"endpoints", `{"host:port": {"over": "serial"}}`, `"host:port" goes over tcp or udp`},
		{"wants", `{"udp": "all"}`, `9:18: must be true or false, "from-links", or a list of ports`},
		{"wants", `{"udp": [70000]}`, `9:19: must be a whole number from 1 to 65535`},
		{"wants", `{"root": true}`, `9:11: wants has no key "root"`},
		{"wants", `{"udp": 1}`, `9:18: must be true or false`},
		{"wants", `{"memory": 1}`, `9:21: must be a whole number from 1048576`},
		{"more", `1`, `9:1: the manifest has no key "more"`},
		{"more", `1,`, `10:1: is not JSON`},
		{"wants", "{\"udp\": true,\n \"udp\": false}", `10:2: the key "udp" stands here a second time`},
		{"wants", `{"udp": true, "\u0075dp": false}`, `the key "udp" stands here a second time`},
		{"schemas", `{"link": ` + strings.Repeat(`{"a":`, 80) + `1` + strings.Repeat(`}`, 80) + `}`, `is nested more than 64 deep`},
		{"name", "\"\xff\"", `is not UTF-8`},
	} {
		lines := whole()
		lines[c.key] = c.value
		_, err := pack.ParseManifest([]byte(manifestOf(lines)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "manifest.json:") {
			t.Errorf("%s: %s: have %v, want %s", c.key, c.value, err, c.want)
		}
	}
}

func TestTrustIsStrict(t *testing.T) {
	key := newPair(t).public
	for text, want := range map[string]string{
		"":                           "",
		"keys: []":                   "",
		"keys: {a: 1}":               "trust.yaml:1:7: ",
		"key: []":                    `trust.yaml:1:1: unknown field "key"`,
		"keys: [{key: x}]":           `keys[0]: "x" is no public key of minisign`,
		"keys: [{key: RW}]":          `keys[0]: "RW" is no public key of minisign`,
		"keys: [{key: " + key + "}]": "keys[0]: names no driver",
		"keys: [{key: " + key + ", drivers: ['[']}]":                                            `keys[0]: "[" is no pattern`,
		"keys: [{key: " + key + ", drivers: [a], drivers: [b]}]":                                "already defined",
		"keys: [{key: " + key + ", drivers: [a]}, {key: " + key + ", drivers: [b]}]":            "stands there twice",
		"keys: [{key: " + key + ", drivers: [a], may: all}]":                                    `unknown field "may"`,
		"keys: &a\n  - {key: " + key + ", drivers: [a]}":                                        "1:7: anchors, aliases and tags are not taken",
		"keys:\n  - {key: " + key + ", drivers: [a]}\n---\nkeys: []":                            "only one document",
		strings.Repeat("#", 1<<17):                                                              "larger than 65536 bytes",
		"keys: [{key: \"untrusted comment: minisign public key X\\n" + key + "\", drivers: a}]": "1:",
	} {
		_, err := pack.ParseTrust("trust.yaml", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: have %v, want %s", text, err, want)
		}
	}
}

func TestTrustFileOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.yaml")
	write(t, path, "keys: []", 0o666)
	if _, err := pack.ReadTrust(path); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("read: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := pack.ReadTrust(path); err != nil {
		t.Error(err)
	}
}

// A nil Trust trusts nobody, and an empty one neither.
func TestNobodyIsTrusted(t *testing.T) {
	at := signed(t, t.TempDir(), newPair(t))
	empty, err := pack.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	for _, trust := range []*pack.Trust{nil, empty} {
		if _, err := pack.Open(at, trust); err == nil || !strings.Contains(err.Error(), "no key is trusted") {
			t.Errorf("opened: %v", err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	by := newPair(t)
	for name, c := range map[string]struct {
		do   func(at string) error
		want string
	}{
		"a link":        {func(at string) error { return os.Symlink("/etc/shadow", filepath.Join(at, "a")) }, "a: is not a plain file"},
		"a hidden file": {func(at string) error { return os.WriteFile(filepath.Join(at, ".a"), nil, 0o644) }, `".a" is not taken`},
		"no executable": {func(at string) error {
			return os.RemoveAll(filepath.Join(at, strings.ReplaceAll(pack.Platform(), "/", "-")))
		}, "is not there, or may not be executed"},
		"no manifest":      {func(at string) error { return os.Remove(filepath.Join(at, pack.ManifestName)) }, "no such file"},
		"a wrong manifest": {func(at string) error { return os.WriteFile(filepath.Join(at, pack.ManifestName), []byte("{}"), 0o644) }, `manifest.json:1:1: the manifest has no key "name"`},
	} {
		at := assembled(t, t.TempDir(), draft)
		if err := c.do(at); err != nil {
			t.Fatal(err)
		}
		if err := pack.Sign(at, by.private, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %s", name, err, c.want)
		}
	}
	at := assembled(t, t.TempDir(), draft)
	if err := pack.Sign(at, []byte("RW"), nil); err == nil || !strings.Contains(err.Error(), "read the private key") {
		t.Errorf("signed with no key: %v", err)
	}
}

// Each signing has a higher serial, and modes that a careless umask left are mended.
func TestSignAgain(t *testing.T) {
	by := newPair(t)
	at := assembled(t, t.TempDir(), draft)
	if err := os.Chmod(filepath.Join(at, "LICENCE"), 0o666); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, serial := range []uint64{0, 0, 1 << 60, 0} {
		if err := pack.SignAs(at, by.private, nil, serial); err != nil {
			t.Fatal(err)
		}
		p, err := pack.Open(at, by.trust(t, "acme"))
		if err != nil {
			t.Fatal(err)
		}
		if p.Manifest.Serial <= last {
			t.Errorf("serial %d after %d", p.Manifest.Serial, last)
		}
		last = p.Manifest.Serial
	}
}
