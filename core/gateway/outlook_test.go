package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A spool that cannot keep what it is to keep is told before it is full, by driver.
func TestTheSpoolsLastingIsTold(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(dir, spool.Options{MaxBytes: 64 << 20, MaxAge: 7 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		var o outlook
		quiet := slog.New(slog.DiscardHandler)
		o.note(lookAt(s), quiet)
		for n := uint64(1); n <= 400; n++ {
			s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n, Data: make([]byte, 1000)}, nil)
			if n%60 == 0 {
				s.Append(spool.Record{Driver: "mqtt", Epoch: 1, Sequence: n, Data: make([]byte, 10)}, nil)
			}
			if n == 30 {
				if w := o.warnings(s); len(w) > 0 {
					t.Errorf("told of half a minute: %q", w)
				}
			}
			time.Sleep(time.Second)
		}
		w := o.warnings(s)
		// 60 MiB at 1,062 bytes a second are 16.5 hours, and mqtt needs next to nothing of it.
		if len(w) != 1 || !strings.Contains(w[0], "of driver modbus at its present rate of 1.0KiB a second, and `spool.keep` is 7.0 days: set `spool.max` to") {
			t.Fatalf("told %q", w)
		}
		var st client.SpoolStatus
		o.fill(&st, s)
		if st.Keep != 7*86400 || st.Lasts < 15*3600 || st.Lasts > 17*3600 || len(st.Drivers) != 2 {
			t.Errorf("%+v", st)
		}
		for _, d := range st.Drivers {
			if d.Driver == "modbus" && (d.Lasts < 15*3600 || d.Lasts > 17*3600) || d.Driver == "mqtt" && d.Lasts != 7*86400 {
				t.Errorf("%+v", d)
			}
		}
		if len(o.clock) > 0 {
			t.Errorf("the clock: %+v", o.clock)
		}
	})
}

func TestAStepOfTheClockIsTold(t *testing.T) {
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var o outlook
	var log strings.Builder
	to := slog.New(slog.NewTextHandler(&log, nil))
	at := time.Now()
	o.note(look{at: at}, to)
	o.note(look{at: at.Add(10 * time.Second)}, to)
	if w := o.warnings(s); len(w) > 0 || log.Len() > 0 {
		t.Errorf("told %q", w)
	}
	o.step(at, time.Second, time.Hour, to)
	if w := o.warnings(s); len(w) != 1 || !strings.Contains(w[0], "the clock was set by 59m59s") || !strings.Contains(log.String(), "the clock was set") {
		t.Errorf("told %q, logged %s", w, log.String())
	}
}

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
	c := parsed(t, "links:\n"+
		"  a: {driver: mqtt, url: \"mqtts://h\", tls: {ca: far.pem, cert: near.crt, key: none.pem}}\n"+
		"  b: {driver: mqtt, url: \"mqtts://h\", tls: {ca: "+filepath.Join(dir, "ended.pem")+", other: [near.crt, no.pem]}}\n")
	c.Dir = dir
	got := certificates(c, now)
	if len(got) != 2 || !strings.Contains(got[0], "ended.pem, which link b uses, ended at") ||
		!strings.Contains(got[1], "near.crt, which link a and 1 more uses, ends at") {
		t.Errorf("told %q", got)
	}
}
