package machine

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/pack"
)

// looked loads links and looks for what they name on this machine.
func looked(t *testing.T, now time.Time, links string) (faults, warnings string) {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("gateway: g\n"), "links/a.yaml": []byte("links:\n" + links)})
	if err != nil {
		t.Fatal(err)
	}
	wrong, list := Look(c, func(driverName string) *pack.Manifest {
		return map[string]*pack.Manifest{
			"serial": {Wants: pack.Wants{Serial: true}}, "tls": {},
			"rtu": {Endpoints: pack.Endpoints{"rtu": {Over: pack.OverSerial}}, Wants: pack.Wants{Serial: true}},
		}[driverName]
	}, now)
	for _, f := range wrong {
		faults += f.Error() + "\n"
	}
	return faults, strings.Join(list, "\n")
}

func TestPortsOfTwoLinks(t *testing.T) {
	dir := t.TempDir()
	byID := filepath.Join(dir, "adapter")
	if err := os.Symlink("/dev/null", byID); err != nil {
		t.Fatal(err)
	}
	faults, warnings := looked(t, time.Now(), fmt.Sprintf(`  a: {driver: serial, port: /dev/null}
  b: {driver: serial, port: %s}
  c: {driver: serial, port: /dev/zero, spare: /dev/zero}
  d: {driver: serial, port: /dev/no-such-tty}
  e: {driver: serial, port: /dev/../dev/no-such-tty}
  f: {driver: unknown, port: /dev/zero}
  g: {driver: rtu, url: "rtu:///dev/zero?baud=9600"}
`, byID))
	for _, want := range []string{"links/a.yaml:3:3: links.b: the serial port /dev/null is that of link a already", "links.e: the serial port /dev/no-such-tty is that of link d already",
		"links/a.yaml:8:3: links.g: the serial port /dev/zero is that of link c already"} {
		if strings.Count(faults, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(faults, want), faults)
		}
	}
	if n := strings.Count(faults, "\n"); n != 3 {
		t.Errorf("%d faults:\n%s", n, faults)
	}
	if !strings.Contains(warnings, "links/a.yaml:5:3: links.d: there is no serial port /dev/no-such-tty on this machine") {
		t.Errorf("warnings:\n%s", warnings)
	}
}

// keyPair writes NAME.crt and NAME.key, and returns nothing that a test needs besides.
func keyPair(t *testing.T, dir, name string, key crypto.Signer, from, to time.Time) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
	writePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", private)
}

func writePEM(t *testing.T, path, driverName string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: driverName, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFilesOfALink: what is missing, cannot be used together, or is not in force.
func TestFilesOfALink(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	year := 365 * 24 * time.Hour
	keyPair(t, dir, "good", ecdsaKey, now.Add(-year), now.Add(year))
	keyPair(t, dir, "rsa", rsaKey, now.Add(-year), now.Add(year))
	keyPair(t, dir, "over", edKey, now.Add(-year), now.Add(-time.Hour))
	keyPair(t, dir, "soon", edKey, now.Add(-year), now.Add(20*24*time.Hour))
	keyPair(t, dir, "early", edKey, now.Add(time.Hour), now.Add(year))
	writePEM(t, filepath.Join(dir, "rsa1.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))
	if err := os.WriteFile(filepath.Join(dir, "text.pem"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "broken.pem"), "CERTIFICATE", []byte("x"))
	for _, tc := range []struct{ settings, want string }{
		{"cert: D/good.crt, key: D/good.key", ""},
		{"cert: D/rsa.crt, key: D/rsa1.key, ca: D/good.crt", ""},
		{"cert: D/good.crt, key: D/rsa.key", "the key in D/rsa.key fits none of the certificates"},
		{"cert: D/rsa.crt, key: D/good.key", "the key in D/good.key fits none of the certificates"},
		{"ca: D/over.crt", "a certificate in D/over.crt, which link l uses, ended at 2026-11-30"},
		{"ca: D/soon.crt", "a certificate in D/soon.crt, which link l uses, ends at 2026-12-20"},
		{"ca: D/early.crt", `the certificate of "early" in D/early.crt is not in force before 2026-11-30`},
		{"ca: D/none.crt", "there is no file D/none.crt"},
		{"ca: D/gone/none.pem", "there is no file D/gone/none.pem"},
		{"file: D/none", "there is no file D/none"},
		{"ca: D/text.pem", "D/text.pem holds no certificate and no key"},
		{"ca: D/broken.pem", "D/broken.pem holds a certificate that cannot be read"},
		{"topic: /plant/line1", ""},
		{"topic: /plant", ""},
		{"dir: D", ""},
		{"note: relative/none.pem", ""},
	} {
		_, warnings := looked(t, now, "  l: {driver: tls, "+strings.ReplaceAll(tc.settings, "D/", dir+"/")+"}\n")
		want := strings.ReplaceAll(tc.want, "D/", dir+"/")
		if (warnings == "") != (want == "") || !strings.Contains(warnings, want) {
			t.Errorf("%s: %q, want %q", tc.settings, warnings, want)
		}
	}
}
