package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/fieldloom/fieldloom/core/pack"
)

// signed is a directory with packages/ of the drivers that this test binary is, signed by
// a key of the test, trust.yaml, and the key.
var signed = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fieldloom-packages-")
	if err != nil {
		return "", err
	}
	public, private, err := pack.Keygen(nil)
	if err != nil {
		return "", err
	}
	trust, err := pack.NewTrust(pack.TrustedKey{Key: public, Drivers: []string{"*"}, Comment: "tests"})
	if err != nil {
		return "", err
	}
	text, err := trust.Encode()
	if err != nil {
		return "", err
	}
	for name, data := range map[string][]byte{"trust.yaml": text, "key": private} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "packages"), 0o755); err != nil {
		return "", err
	}
	for i, p := range []struct{ name, version string }{
		{"modbus", "0.1.0"}, {"mqtt", "0.1.0"}, {"serial", "0.1.0"}, {"memory", "1.0.0"}, {"memory", "1.1.0"}, {"broken", "9.9.9"},
	} {
		if err := sign(dir, p.name, p.version, uint64(100+i), private); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// sign makes a package of the driver that this binary is under a name. A binary under the
// race detector is linked dynamically and takes much memory, so it asks for both.
func sign(dir, name, version string, serial uint64, private []byte) error {
	executable, err := exec.LookPath("driver-" + name)
	if err != nil {
		return err
	}
	draft := filepath.Join(dir, name+".json")
	text := fmt.Sprintf(`{"name": %q, "version": %q, "api": {"min": 1, "max": 1}, "wants": {"tcp": "from-links", "serial": true,
		"memory": 1099511627776, "files": ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/proc/self", "/sys/kernel/mm"]}}`, name, version)
	if err := os.WriteFile(draft, []byte(text), 0o600); err != nil {
		return err
	}
	into := filepath.Join(dir, "packages", name+"-"+version)
	if _, err := pack.Assemble(into, pack.Assembly{Draft: draft, Executables: map[string]string{pack.Platform(): executable}}); err != nil {
		return err
	}
	return pack.SignAs(into, private, nil, serial)
}
