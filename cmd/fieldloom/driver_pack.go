package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/fieldloom/fieldloom/core/pack"
)

// password is the flags of the words that use a private key.
type password struct {
	PasswordFile string `help:"File with the key's password, instead of asking for it." type:"path" placeholder:"FILE"`
}

// read returns the password from the file or the terminal.
func (p *password) read(ctx context.Context, s *screen, prompt string) ([]byte, error) {
	if p.PasswordFile != "" {
		text, err := os.ReadFile(p.PasswordFile)
		if err != nil {
			return nil, err
		}
		return []byte(strings.TrimRight(string(text), "\r\n")), nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, &usageError{"the key needs a password and this is no terminal: give --password-file"}
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	var text string
	typed := make(chan error, 1)
	go func() { // it ends with the process, where a signal comes before the password
		var err error
		text, err = term.NewTerminal(terminal{os.Stdin, s.err}, "").ReadPassword(prompt)
		typed <- err
	}()
	select {
	case err = <-typed:
	case <-ctx.Done():
		err = errBrokenOff
	}
	if errors.Is(err, io.EOF) {
		err = errBrokenOff // Ctrl-C is a key here
	}
	if err := errors.Join(err, term.Restore(fd, state)); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// terminal is both directions of one.
type terminal struct {
	io.Reader
	io.Writer
}

var errBrokenOff = errors.New("broken off")

// choose asks for a new password, twice where it is typed.
func (p *password) choose(ctx context.Context, s *screen) ([]byte, error) {
	first, err := p.read(ctx, s, "Password for the private key: ")
	if err != nil || p.PasswordFile != "" {
		return first, err
	}
	second, err := p.read(ctx, s, "The same again: ")
	if err == nil && !bytes.Equal(first, second) {
		err = &usageError{"the two passwords differ"}
	}
	return second, err
}

type driverKeygenWord struct {
	password
	NoPassword bool     `help:"Do not lock the private key."`
	Private    string   `help:"File for the private key. Default: fieldloom.key." default:"fieldloom.key" type:"path" placeholder:"FILE"`
	Public     string   `help:"File for the public key. Default: fieldloom.pub." default:"fieldloom.pub" type:"path" placeholder:"FILE"`
	Trust      string   `help:"Write a trust file with this key too." type:"path" placeholder:"FILE"`
	Drivers    []string `help:"Drivers that the trust file lets the key sign; * is wild, and the default." default:"*" placeholder:"NAME"`
	JSON       bool     `help:"As JSON."`
}

// Help has the examples.
func (*driverKeygenWord) Help() string {
	return `The files are minisign's: minisign reads them, and keys that minisign made sign packages as well. A file that is there already is
never written over.

  fieldloom driver keygen --private ~/acme.key --public acme.pub
  fieldloom driver keygen --no-password --trust trust.yaml --drivers "acme-*"`
}

// keygenResult is the answer as JSON.
type keygenResult struct {
	Key     string `json:"key"`
	ID      string `json:"id"`
	Private string `json:"private"`
	Public  string `json:"public"`
	Trust   string `json:"trust,omitempty"`
}

// Run makes the keys.
func (w *driverKeygenWord) Run(ctx context.Context, s *screen) error {
	var secret []byte
	if !w.NoPassword {
		var err error
		if secret, err = w.choose(ctx, s); err != nil {
			return err
		}
		if len(secret) == 0 {
			return &usageError{"the password is empty: say --no-password if that is meant"}
		}
	}
	key, private, err := pack.Keygen(secret)
	if err != nil {
		return err
	}
	r := keygenResult{Key: key, Private: w.Private, Public: w.Public, Trust: w.Trust}
	if r.ID, err = pack.KeyID(key); err != nil {
		return err
	}
	if err := w.write(key, private, r.ID); err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, r)
	}
	_, err = fmt.Fprintf(s.out, "key %s: private key in %s, public key in %s\nfor a trust file:\n  - key: %s\n    drivers: [%s]\n",
		r.ID, w.Private, w.Public, key, quotedList(w.Drivers))
	return err
}

// write writes the files, the private key last: a pair is whole once it is there.
func (w *driverKeygenWord) write(key string, private []byte, id string) error {
	for _, path := range []string{w.Private, w.Public, w.Trust} {
		if _, err := os.Lstat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: name another file", path)
		}
	}
	public, err := pack.PublicFile(key)
	if err != nil {
		return err
	}
	if err := writeNew(w.Public, public, 0o644); err != nil {
		return err
	}
	if w.Trust != "" {
		trust, err := pack.NewTrust(pack.TrustedKey{Key: key, Drivers: w.Drivers, Comment: "key " + id})
		if err != nil {
			return err
		}
		text, err := trust.Encode()
		if err != nil {
			return err
		}
		if err := writeNew(w.Trust, text, 0o644); err != nil {
			return err
		}
	}
	return writeNew(w.Private, private, 0o600)
}

func writeNew(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func quotedList(list []string) string {
	quoted := make([]string, len(list))
	for i, l := range list {
		quoted[i] = fmt.Sprintf("%q", l)
	}
	return strings.Join(quoted, ", ")
}

// signing is the flags of the words that sign.
type signing struct {
	password
	Key     string `help:"Private key." required:"" type:"path" placeholder:"FILE"`
	Serial  uint64 `help:"Serial of the package. Default: the time in microseconds, or one more than it has." placeholder:"N"`
	Archive string `help:"Write the package as an archive too." type:"path" placeholder:"FILE.tar.gz"`
}

// keys reads the private key and its password.
func (g *signing) keys(ctx context.Context, s *screen) (private, secret []byte, err error) {
	if private, err = os.ReadFile(g.Key); err != nil {
		return nil, nil, err
	}
	if pack.NeedsPassword(private) {
		secret, err = g.read(ctx, s, "Password of "+g.Key+": ")
	}
	return private, secret, err
}

// signResult is the answer as JSON.
type signResult struct {
	Path    string `json:"path"`
	Driver  string `json:"driver"`
	Version string `json:"version"`
	Serial  uint64 `json:"serial"`
	KeyID   string `json:"key_id"`
	Archive string `json:"archive,omitempty"`
}

// sign signs the package in dir and checks it as a gateway does that trusts the key.
func (g *signing) sign(ctx context.Context, s *screen, dir string) (*pack.Package, *pack.Trust, error) {
	private, secret, err := g.keys(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if err := pack.SignAs(dir, private, secret, g.Serial); err != nil {
		return nil, nil, err
	}
	public, err := pack.PublicOf(private, secret)
	if err != nil {
		return nil, nil, err
	}
	trust, err := pack.NewTrust(pack.TrustedKey{Key: public, Drivers: []string{"*"}})
	if err != nil {
		return nil, nil, err
	}
	p, err := pack.Open(dir, trust)
	return p, trust, err
}

// finish writes the archive and the answer.
func (g *signing) finish(s *screen, dir string, p *pack.Package, asJSON bool) error {
	if g.Archive != "" {
		if err := writeArchive(dir, g.Archive); err != nil {
			return err
		}
	}
	r := signResult{dir, p.Manifest.Name, p.Manifest.Version, p.Manifest.Serial, p.KeyID, g.Archive}
	if asJSON {
		return printJSON(s.out, r)
	}
	_, err := fmt.Fprintf(s.out, "%s: driver %s %s, serial %d, signed with key %s\n", dir, r.Driver, r.Version, r.Serial, r.KeyID)
	return err
}

func writeArchive(dir, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".archive-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	if err := errors.Join(pack.Archive(dir, f), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type driverSignWord struct {
	signing
	Dir  string `arg:"" help:"Directory of the package." type:"path"`
	JSON bool   `help:"As JSON."`
}

// Help has the examples.
func (*driverSignWord) Help() string {
	return `Lists the files of the package with their hashes in its manifest, gives it the next serial and signs it. Every change of a file
needs a new signature. docs/package.md has the format.

  fieldloom driver sign acme-1.2.3 --key ~/acme.key
  fieldloom driver sign acme-1.2.3 --key ~/acme.key --archive acme-1.2.3.tar.gz`
}

// Run signs.
func (w *driverSignWord) Run(ctx context.Context, s *screen) error {
	p, _, err := w.sign(ctx, s, w.Dir)
	if err != nil {
		return err
	}
	return w.finish(s, w.Dir, p, w.JSON)
}

type driverVerifyWord struct {
	Path  string `arg:"" help:"Package: a directory or an archive." type:"path"`
	Trust string `help:"Trust file." type:"path" placeholder:"FILE" xor:"who" required:""`
	Key   string `help:"Public key that must have signed it, or its file." placeholder:"RW..." xor:"who" required:""`
	JSON  bool   `help:"As JSON."`
}

// Help has the examples.
func (*driverVerifyWord) Help() string {
	return `Checks signature, trust, and every file of a package. What a gateway knows besides, the serials that it took before, is not looked at.

  fieldloom driver verify acme-1.2.3 --trust trust.yaml
  fieldloom driver verify acme-1.2.3.tar.gz --key acme.pub --json`
}

// verifyResult is the answer as JSON.
type verifyResult struct {
	OK        bool           `json:"ok"`
	Error     string         `json:"error,omitempty"`
	Manifest  *pack.Manifest `json:"manifest,omitempty"`
	KeyID     string         `json:"key_id,omitempty"`
	Signed    string         `json:"signed,omitempty"`
	Platforms []string       `json:"platforms,omitempty"`
}

// Run checks.
func (w *driverVerifyWord) Run(s *screen) error {
	trust, err := w.trust()
	if err != nil {
		return err
	}
	p, err := openPackage(w.Path, trust)
	if err != nil {
		if w.JSON {
			return errors.Join(printJSON(s.out, verifyResult{Error: err.Error()}), errReported)
		}
		return err
	}
	r := verifyResult{OK: true, Manifest: p.Manifest, KeyID: p.KeyID, Signed: p.Signer.Signed, Platforms: slices.Sorted(maps.Keys(p.Manifest.Platforms))}
	if w.JSON {
		return printJSON(s.out, r)
	}
	_, err = fmt.Fprintf(s.out, "%s: well: driver %s %s, serial %d, signed with key %s, for %s\n",
		w.Path, p.Manifest.Name, p.Manifest.Version, p.Manifest.Serial, p.KeyID, strings.Join(r.Platforms, ", "))
	return err
}

// openPackage opens a directory or an archive that must be signed.
func openPackage(path string, trust *pack.Trust) (*pack.Package, error) {
	o := pack.Opener{Trust: trust, Signed: true}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return o.OpenArchive(path)
	}
	return o.Open(path)
}

func (w *driverVerifyWord) trust() (*pack.Trust, error) {
	if w.Trust != "" {
		return pack.ReadTrust(w.Trust)
	}
	key := w.Key
	if text, err := os.ReadFile(key); err == nil {
		key = string(text)
	}
	return pack.NewTrust(pack.TrustedKey{Key: key, Drivers: []string{"*"}})
}
