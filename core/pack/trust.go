package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"aead.dev/minisign"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
	"golang.org/x/sys/unix"
)

// Trust is the public keys that an operator trusts. A nil Trust trusts nobody. It may
// be used concurrently.
type Trust struct {
	name string
	keys []trusted
}

type trusted struct {
	public  minisign.PublicKey
	drivers []string
	comment string
}

// A TrustedKey is an entry of a trust file.
type TrustedKey struct {
	Key     string   `yaml:"key"`     // RW...
	Drivers []string `yaml:"drivers"` // names that it may sign; * and ? are wild
	Comment string   `yaml:"comment"` // who it is
}

// ReadTrust reads a trust file. Only its owner may write it, and that is root or the
// user of this process.
func ReadTrust(path string) (*Trust, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the trust file: %w", err)
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return nil, fmt.Errorf("read the trust file %s: %w", path, err)
	}
	if err := checkStat(&stat, unix.S_IFREG); err != nil {
		return nil, fmt.Errorf("trust file %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTrust+1))
	if err != nil {
		return nil, fmt.Errorf("read the trust file: %w", err)
	}
	return ParseTrust(path, text)
}

// ParseTrust reads the text of a trust file; name stands in errors.
func ParseTrust(name string, text []byte) (*Trust, error) {
	if len(text) > maxTrust {
		return nil, fmt.Errorf("trust file %s: is larger than %d bytes", name, maxTrust)
	}
	for i, t := range lexer.Tokenize(string(text)) {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if i > 0 {
				return nil, fmt.Errorf("trust file %s:%d:%d: only one document a file is taken: remove the line", name, t.Position.Line, t.Position.Column)
			}
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			return nil, fmt.Errorf("trust file %s:%d:%d: anchors, aliases and tags are not taken: write the plain value",
				name, t.Position.Line, t.Position.Column)
		}
	}
	var file struct {
		Keys []TrustedKey `yaml:"keys"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("trust file %s:%s", name, yamlFault(err))
	}
	t := &Trust{name: name}
	for i, k := range file.Keys {
		if err := t.add(k); err != nil {
			return nil, fmt.Errorf("trust file %s: keys[%d]: %w", name, i, err)
		}
	}
	return t, nil
}

// yamlFault is a YAML error on one line: "LINE:COLUMN: what".
func yamlFault(err error) string {
	var fault yaml.Error
	if !errors.As(err, &fault) || fault.GetToken() == nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return " " + first
	}
	at := fault.GetToken().Position
	first, _, _ := strings.Cut(fault.GetMessage(), "\n")
	return fmt.Sprintf("%d:%d: %s", at.Line, at.Column, first)
}

// NewTrust trusts keys.
func NewTrust(keys ...TrustedKey) (*Trust, error) {
	t := &Trust{}
	for _, k := range keys {
		if err := t.add(k); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Trust) add(k TrustedKey) error {
	public, err := parsePublic(k.Key)
	if err != nil {
		return err
	}
	if len(k.Drivers) == 0 {
		return errors.New(`names no driver: write drivers: [modbus], or ["*"] for all`)
	}
	for _, d := range k.Drivers {
		if _, err := path.Match(d, ""); err != nil || d == "" {
			return fmt.Errorf("%s is no pattern for the name of a driver", quote(d))
		}
	}
	if slices.ContainsFunc(t.keys, func(other trusted) bool { return other.public.Equal(public) }) {
		return fmt.Errorf("the key %s stands there twice: put all its drivers into one entry", keyID(public.ID()))
	}
	t.keys = append(t.keys, trusted{public, k.Drivers, k.Comment})
	return nil
}

// Encode writes keys as a trust file.
func (t *Trust) Encode() ([]byte, error) {
	var file struct {
		Keys []TrustedKey `yaml:"keys"`
	}
	for _, k := range t.keys {
		file.Keys = append(file.Keys, TrustedKey{Key: k.public.String(), Drivers: k.drivers, Comment: k.comment})
	}
	return yaml.Marshal(file)
}

// A Signer is who signed a package.
type Signer struct {
	Key     string // the public key, "RW..."
	ID      string // its id as minisign prints it
	Comment string // the trust file's
	Signed  string // the signature's trusted comment, which is signed too
}

// ErrNotTrusted is in the tree of an error that says that a package is well signed, by a key
// that may not sign it.
var ErrNotTrusted = errors.New("not trusted")

// verify finds the key that signed manifest. Its errors say nothing of the manifest's
// content, which nobody has vouched for yet.
func (t *Trust) verify(manifest, signature []byte) (*trusted, *minisign.Signature, error) {
	var s minisign.Signature
	if len(signature) > maxSignature {
		return nil, nil, fmt.Errorf("%s: is larger than %d bytes", SignatureName, maxSignature)
	}
	if err := s.UnmarshalText(signature); err != nil {
		return nil, nil, fmt.Errorf("%s: is no signature of minisign: sign the package again", SignatureName)
	}
	if t == nil || len(t.keys) == 0 {
		return nil, nil, fmt.Errorf("signed with key %s, and no key is trusted: put its public key into the trust file%w", keyID(s.KeyID), silent{ErrNotTrusted})
	}
	known := false
	for i := range t.keys {
		if t.keys[i].public.ID() != s.KeyID {
			continue
		}
		known = true
		if minisign.Verify(t.keys[i].public, manifest, signature) {
			return &t.keys[i], &s, nil
		}
	}
	if !known && t.name == "" {
		return nil, nil, fmt.Errorf("signed with key %s, and not with key %s", keyID(s.KeyID), keyID(t.keys[0].public.ID()))
	}
	if !known {
		return nil, nil, fmt.Errorf("signed with key %s, which is not in the trust file: put its public key there if you trust it%w", keyID(s.KeyID), silent{ErrNotTrusted})
	}
	return nil, nil, fmt.Errorf("the signature does not fit %s: one of the two was changed after key %s signed it", ManifestName, keyID(s.KeyID))
}

// permits reports whether the key may sign the driver.
func (k *trusted) permits(driver string) error {
	for _, pattern := range k.drivers {
		if ok, err := path.Match(pattern, driver); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("key %s may not sign driver %s: the trust file lets it sign %s%w", keyID(k.public.ID()), driver, strings.Join(k.drivers, ", "), silent{ErrNotTrusted})
}
