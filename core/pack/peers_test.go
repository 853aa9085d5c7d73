//go:build peers

package pack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/pack"
)

// debian runs Debian's minisign.
func debian(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("minisign", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// minisign verifies what we signed, with the public key as we write it, and not once
// it was changed.
func TestPeerMinisignVerifiesOurs(t *testing.T) {
	by := newPair(t)
	at := signed(t, t.TempDir(), by)
	public, err := pack.PublicFile(by.public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "our.pub")
	write(t, file, string(public), 0o644)
	manifest := filepath.Join(at, pack.ManifestName)
	for _, key := range [][]string{{"-P", by.public}, {"-p", file}} {
		out, err := debian(t, "", append([]string{"-V", "-m", manifest}, key...)...)
		if err != nil || !strings.Contains(out, "fieldloom driver acme 1.2.3 serial ") {
			t.Errorf("minisign %v: %v\n%s", key, err, out)
		}
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	write(t, manifest, string(text)+" ", 0o644)
	if out, err := debian(t, "", "-V", "-m", manifest, "-P", by.public); err == nil {
		t.Errorf("minisign took a changed manifest:\n%s", out)
	}
}

// minisign signs with a key that we made, without a password and with one.
func TestPeerMinisignTakesOurKeys(t *testing.T) {
	for _, password := range []string{"", "a password"} {
		public, private, err := pack.Keygen([]byte(password))
		if err != nil {
			t.Fatal(err)
		}
		by := pair{public, private}
		at := assembled(t, t.TempDir(), draft)
		if err := pack.Sign(at, private, []byte(password)); err != nil {
			t.Fatal(err)
		}
		key := filepath.Join(t.TempDir(), "our.key")
		write(t, key, string(private), 0o600)
		resign(t, at, key, password)
		if _, err := pack.Open(at, by.trust(t, "*")); err != nil {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// resign replaces the signature by one of minisign.
func resign(t *testing.T, at, key, password string) {
	t.Helper()
	if err := os.Remove(filepath.Join(at, pack.SignatureName)); err != nil {
		t.Fatal(err)
	}
	if out, err := debian(t, password+"\n", "-S", "-s", key, "-m", filepath.Join(at, pack.ManifestName)); err != nil {
		t.Fatalf("minisign -S: %v\n%s", err, out)
	}
}

// We sign with keys that minisign made, and take what it signed with them, hashed
// first or not.
func TestPeerKeysOfMinisign(t *testing.T) {
	for _, password := range []string{"", "a password"} {
		dir := t.TempDir()
		key, file := filepath.Join(dir, "its.key"), filepath.Join(dir, "its.pub")
		args := []string{"-G", "-s", key, "-p", file}
		if password == "" {
			args = append(args, "-W")
		}
		if out, err := debian(t, password+"\n"+password+"\n", args...); err != nil {
			t.Fatalf("minisign -G: %v\n%s", err, out)
		}
		private, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		public, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if pack.NeedsPassword(private) != (password != "") {
			t.Errorf("password %q: needs one: %v", password, pack.NeedsPassword(private))
		}
		by := pair{string(public), private}
		at := assembled(t, t.TempDir(), draft)
		if err := pack.Sign(at, private, []byte(password)); err != nil {
			t.Fatal(err)
		}
		trust := by.trust(t, "*")
		if _, err := pack.Open(at, trust); err != nil {
			t.Error(err)
		}
		if out, err := debian(t, "", "-V", "-p", file, "-m", filepath.Join(at, pack.ManifestName)); err != nil {
			t.Errorf("minisign -V: %v\n%s", err, out)
		}
		resign(t, at, key, password)
		if _, err := pack.Open(at, trust); err != nil {
			t.Errorf("signed by minisign: %v", err)
		}
		if password != "" {
			if err := pack.Sign(at, private, []byte("wrong")); err == nil || !strings.Contains(err.Error(), "the password does not open it") {
				t.Errorf("wrong password: %v", err)
			}
		}
	}
}
