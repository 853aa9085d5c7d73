package plant

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/pack"
)

// drivers are those of this repository.
var drivers = []string{"modbus", "mqtt", "serial"}

// packBuilt signs the built drivers with a key of these tests, as `make build` does
// with the builder's: drivers/NAME-VERSION/, trust.yaml, and build.key.
func packBuilt(b Binaries) error {
	public, private, err := pack.Keygen(nil)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.key(), private, 0o600); err != nil {
		return err
	}
	trust, err := pack.NewTrust(pack.TrustedKey{Key: public, Drivers: []string{"*"}, Comment: "tests"})
	if err != nil {
		return err
	}
	text, err := trust.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.Trust(), text, 0o644); err != nil {
		return err
	}
	for _, d := range drivers {
		if _, err := b.pack(Package{Driver: d}, b.Drivers()); err != nil {
			return err
		}
	}
	return nil
}

func (b Binaries) key() string { return filepath.Join(string(b), "build.key") }

// Trust is the trust file that trusts the tests' key for every driver. It lies
// beside fieldloom, where a gateway finds it by itself.
func (b Binaries) Trust() string { return filepath.Join(string(b), "trust.yaml") }

// Executables is the directory of fieldloom and of driver-NAME, which are packed.
func (b Binaries) Executables() string { return string(b) }

// Drivers is the drivers directory, with the packages.
func (b Binaries) Drivers() string { return filepath.Join(string(b), "drivers") }

// A Package is what Pack makes. Everything but Driver has a default.
type Package struct {
	Driver     string // one of this repository, whose draft is taken
	Version    string // default: the draft's
	Executable string // default: the built one
	Serial     uint64 // default: the time, or more than the last one's
	Draft      string // of the manifest; default: that of the driver of this repository
}

// Pack makes a package signed with the tests' key and commits it into the directory
// into, from where it replaces one of the same version. It returns its path.
func (b Binaries) Pack(t testing.TB, p Package, into string) string {
	t.Helper()
	at, err := b.pack(p, into)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (b Binaries) pack(p Package, into string) (string, error) {
	private, err := os.ReadFile(b.key())
	if err != nil {
		return "", err
	}
	if p.Executable == "" {
		p.Executable = filepath.Join(b.Executables(), "driver-"+p.Driver)
	}
	if p.Draft == "" {
		p.Draft = filepath.Join(root(), "drivers", p.Driver, "driver.json")
	}
	stage, err := os.MkdirTemp(into, ".pack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(stage)
	dir := filepath.Join(stage, "package")
	m, err := pack.Assemble(dir, pack.Assembly{
		Draft:       p.Draft,
		Version:     p.Version,
		Executables: map[string]string{pack.Platform(): p.Executable},
	})
	if err != nil {
		return "", err
	}
	if err := pack.SignAs(dir, private, nil, p.Serial); err != nil {
		return "", err
	}
	to := filepath.Join(into, m.ID())
	if err := pack.Replace(dir, to); err != nil {
		return "", fmt.Errorf("commit %s: %w", to, err)
	}
	return to, nil
}
