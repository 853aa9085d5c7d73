package machine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
)

// certificate writes one that ends at a time.
func certificate(t *testing.T, path string, end time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesNearTheirEndAreTold(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for name, end := range map[string]time.Time{"ended.pem": now.Add(-time.Hour), "near.crt": now.Add(20 * 24 * time.Hour), "far.pem": now.AddDate(2, 0, 0)} {
		certificate(t, filepath.Join(dir, name), end)
	}
	if err := os.WriteFile(filepath.Join(dir, "no.pem"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte("links:\n" +
		"  a: {driver: mqtt, url: \"mqtts://h\", tls: {ca: far.pem, cert: near.crt, key: none.pem}}\n" +
		"  b: {driver: mqtt, url: \"mqtts://h\", tls: {ca: " + filepath.Join(dir, "ended.pem") + ", other: [near.crt, no.pem]}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	c.Dir = dir
	got := Certificates(c, now)
	if len(got) != 2 || !strings.Contains(got[0], "ended.pem, which link b uses, ended at") ||
		!strings.Contains(got[1], "near.crt, which link a and 1 more uses, ends at") {
		t.Errorf("told %q", got)
	}
}
