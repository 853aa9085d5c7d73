package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
)

// A Manifest says what a package is. ParseManifest makes it; it is not changed
// afterwards, so it may be read concurrently.
type Manifest struct {
	Name      string            `json:"name"`    // of the driver, as links say it
	Version   string            `json:"version"` // of the driver
	Kind      string            `json:"kind"`    // KindDriver
	Serial    uint64            `json:"serial"`  // grows with every signing
	API       API               `json:"api"`
	Platforms map[string]string `json:"platforms"` // "linux/amd64" to the path of its executable
	Files     map[string]File   `json:"files"`     // every file of the package but the manifest and its signature
	Schemas   Schemas           `json:"schemas"`
	Endpoints Endpoints         `json:"endpoints,omitzero"` // nil: the manifest does not say
	Wants     Wants             `json:"wants"`
}

// API is the range of versions of the driver protocol that the driver speaks.
type API struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Schemas are the JSON Schemas of the driver's settings and addresses; each may be
// nil.
type Schemas struct {
	Link    json.RawMessage `json:"link,omitempty"`
	Device  json.RawMessage `json:"device,omitempty"`
	Address json.RawMessage `json:"address,omitempty"`
}

// A File is one file of a package.
type File struct {
	SHA256 [sha256.Size]byte
	Size   int64
	Mode   fs.FileMode // permission bits only: 0755 or 0644
}

// MarshalJSON writes the hash in hexadecimal and the mode in octal digits.
func (f File) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"sha256":"%s","size":%d,"mode":"%04o"}`, hex.EncodeToString(f.SHA256[:]), f.Size, f.Mode), nil
}

// Wants is what a driver asks to reach; the operator's confinement grants no more.
// The zero value is nothing.
type Wants struct {
	Serial    bool     `json:"serial"`              // the serial ports that its links name
	TCP       Ports    `json:"tcp"`                 // connections to these ports
	UDP       Ports    `json:"udp,omitzero"`        // datagrams to these ports
	Unix      bool     `json:"unix"`                // Unix sockets by path
	Files     []string `json:"files,omitempty"`     // absolute paths that it reads
	Write     []string `json:"write,omitempty"`     // absolute paths that it writes
	Memory    int64    `json:"memory,omitempty"`    // bytes; 0: the gateway's default
	Processes int      `json:"processes,omitempty"` // threads and children; 0: the gateway's default
}

// Encode writes the manifest as Sign does: the same manifest is the same bytes.
func (m *Manifest) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest of %s: %w", m.Name, err)
	}
	return append(text, '\n'), nil
}

// Differences compares what the manifest says of its driver with what the driver says.
func (m *Manifest) Differences(name, version string, schemas Schemas) (list []string) {
	for _, d := range []struct{ what, packed, said string }{{"name", m.Name, name}, {"version", m.Version, version}} {
		if d.packed != d.said {
			list = append(list, fmt.Sprintf("its package says %s %s, and its executable %s", d.what, quote(d.packed), quote(d.said)))
		}
	}
	for _, d := range []struct {
		what         string
		packed, said json.RawMessage
	}{{"a link", m.Schemas.Link, schemas.Link}, {"a device", m.Schemas.Device, schemas.Device}, {"an address", m.Schemas.Address, schemas.Address}} {
		if !sameJSON(d.packed, d.said) {
			list = append(list, fmt.Sprintf("its package has another schema of %s than its executable", d.what))
		}
	}
	return list
}

// sameJSON reports whether two texts are the same value; none is the same as none.
func sameJSON(a, b json.RawMessage) bool {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// ID is the package's name in a drivers directory: NAME-VERSION.
func (m *Manifest) ID() string { return m.Name + "-" + m.Version }

// Executable is the path of the executable for a platform, or "".
func (m *Manifest) Executable(platform string) string { return m.Platforms[platform] }

// CheckName tells what is wrong with the name of a driver.
func CheckName(name string) error {
	if !isWord(name, 32, "_-") || name != strings.ToLower(name) {
		return fmt.Errorf("%s is no name of a driver: 1 to 32 of a-z, 0-9, - and _, the first a letter or a digit", quote(name))
	}
	return nil
}

// CheckVersion tells what is wrong with a version.
func CheckVersion(version string) error {
	if !isWord(version, 64, "._+-") {
		return fmt.Errorf("%s is no version: 1 to 64 of a-z, A-Z, 0-9, ., -, _ and +, the first a letter or a digit", quote(version))
	}
	return nil
}

// checkPath tells what is wrong with the path of a file in a package. Its letters
// are few, so that no file system, archive or log line understands it otherwise.
func checkPath(path string) error {
	parts := strings.Split(path, "/")
	switch {
	case len(path) > maxPath:
		return fmt.Errorf("the path %s is longer than %d bytes", quote(path), maxPath)
	case len(parts) > maxDepth:
		return fmt.Errorf("the path %s is more than %d deep", quote(path), maxDepth)
	case path == ManifestName || path == SignatureName:
		return fmt.Errorf("%s cannot list itself: only the other files are listed", quote(path))
	}
	for _, p := range parts {
		if !isWord(p, maxPath, "._+-") {
			return fmt.Errorf("the path %s is not taken: use relative paths of a-z, A-Z, 0-9, ., -, _ and +, no part beginning with a dot", quote(path))
		}
	}
	return nil
}

// isWord reports whether text begins with a letter or digit and consists of those and others.
func isWord(text string, longest int, others string) bool {
	for i := range len(text) {
		c := text[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || !strings.Contains(others, string(rune(c)))) {
			return false
		}
	}
	return text != "" && len(text) <= longest
}

// quote puts foreign text into a message: on one line, and no longer than a line.
func quote(text string) string {
	const limit = 80
	if len(text) > limit {
		return fmt.Sprintf("%q...", text[:limit])
	}
	return fmt.Sprintf("%q", text)
}

// compact is raw without white space, as two schemas are compared.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
