package pack

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/crypto/blake2b"
)

// Keygen makes a key pair in minisign's formats: the public key as the line that
// stands in a trust file ("RW..."), the private key as the text of minisign's secret
// key file. An empty password leaves the private key readable by whoever has the
// file; with one it costs a gibibyte of memory to open, as minisign does.
func Keygen(password []byte) (public string, private []byte, err error) {
	pub, key, err := minisign.GenerateKey(nil)
	if err != nil {
		return "", nil, fmt.Errorf("make a key pair: %w", err)
	}
	if len(password) > 0 {
		private, err = minisign.EncryptKey(string(password), key)
	} else {
		private, err = plainKey(key)
	}
	if err != nil {
		return "", nil, fmt.Errorf("make a key pair: %w", err)
	}
	return pub.String(), append(bytes.TrimSpace(private), '\n'), nil
}

// The layout of a secret key file, see minisign(1) and minisign.h: two bytes each of
// algorithm, key derivation and checksum; salt; limits; then key id, key, checksum.
const (
	keySize     = 158
	keyAt       = 54
	checksumAt  = 126
	checksumLen = 32
)

// plainKey writes a key without a password, with the checksum that the library
// leaves out and that minisign looks at.
func plainKey(key minisign.PrivateKey) ([]byte, error) {
	text, err := key.MarshalText()
	if err != nil {
		return nil, err
	}
	comment, encoded, _ := bytes.Cut(text, []byte("\n"))
	raw, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || len(raw) != keySize {
		return nil, fmt.Errorf("the library wrote a key of %d bytes: %w", len(raw), err)
	}
	sum := blake2b.Sum256(append(binary.LittleEndian.AppendUint16(nil, minisign.EdDSA), raw[keyAt:checksumAt]...))
	copy(raw[checksumAt:checksumAt+checksumLen], sum[:])
	return fmt.Appendf(comment, "\n%s\n", base64.StdEncoding.EncodeToString(raw)), nil
}

// NeedsPassword reports whether a private key is locked with a password.
func NeedsPassword(private []byte) bool { return minisign.IsEncrypted(bytes.TrimSpace(private)) }

// PublicOf returns the public key of a private one.
func PublicOf(private, password []byte) (string, error) {
	key, err := readPrivate(private, password)
	if err != nil {
		return "", err
	}
	return publicOf(key).String(), nil
}

func publicOf(key minisign.PrivateKey) minisign.PublicKey {
	public, _ := key.Public().(minisign.PublicKey)
	return public
}

func readPrivate(private, password []byte) (key minisign.PrivateKey, err error) {
	private = bytes.TrimSpace(private)
	switch {
	case len(private) > maxKey:
		return key, errors.New("read the private key: it is too long to be one")
	case !NeedsPassword(private):
		if err = key.UnmarshalText(private); err != nil {
			return key, fmt.Errorf("read the private key: %w", err)
		}
	case len(password) == 0:
		return key, errors.New("read the private key: it is locked: give its password")
	default:
		if key, err = minisign.DecryptKey(string(password), private); err != nil {
			return key, errors.New("read the private key: the password does not open it")
		}
	}
	return key, nil
}

// parsePublic reads a public key: the line, or the whole file of minisign.
func parsePublic(text string) (key minisign.PublicKey, err error) {
	text = strings.TrimSpace(text)
	if len(text) > maxKey {
		return key, errors.New("a public key is one line that begins with RW")
	}
	if err := key.UnmarshalText([]byte(text)); err != nil {
		return key, fmt.Errorf("%s is no public key of minisign, a line of 56 letters that begins with RW", quote(text))
	}
	return key, nil
}

// PublicFile writes a public key as minisign's public key file.
func PublicFile(public string) ([]byte, error) {
	key, err := parsePublic(public)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "untrusted comment: minisign public key %s\n%s\n", keyID(key.ID()), key), nil
}

// keyID is a key's id as minisign prints it.
func keyID(id uint64) string { return fmt.Sprintf("%016X", id) }

// KeyID returns the id of a public key, as minisign prints it.
func KeyID(public string) (string, error) {
	key, err := parsePublic(public)
	if err != nil {
		return "", err
	}
	return keyID(key.ID()), nil
}
