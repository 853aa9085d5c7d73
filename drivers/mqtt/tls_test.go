package mqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

// authority issues certificates and keeps them as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, c *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if a.cert == nil {
		a.cert, a.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	check(a.t, err)
	if c == a.cert {
		a.cert, err = x509.ParseCertificate(der)
		check(a.t, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	check(a.t, os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(a.t, os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.issue("client", &x509.Certificate{})
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	b := startBroker(t)
	l := listeners.NewTCP(listeners.Config{ID: "tls", Address: "127.0.0.1:0", TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12}})
	check(t, b.AddListener(l))
	go l.Serve(b.EstablishConnection)
	url := "ssl://" + l.Address()

	files := map[string]any{"ca": a.path("ca.pem"), "cert": a.path("client.pem"), "key": a.path("client.key")}
	g := startGateway(t, settings(t, "broker", url, "tls", files), device("d", "m"))
	b.awaitSubscribed("m")
	b.publish("m", "1", false)
	if got := g.take().String(); got != "m 1 float64 good" {
		t.Errorf("got %s", got)
	}

	for name, tc := range map[string]struct {
		tls  map[string]any
		want driver.Code
	}{
		"unknown authority":  {map[string]any{"cert": files["cert"], "key": files["key"]}, driver.NotConnected},
		"no certificate":     {map[string]any{"ca": files["ca"]}, driver.NotConnected},
		"another name":       {map[string]any{"ca": files["ca"], "cert": files["cert"], "key": files["key"], "server_name": "other"}, driver.NotConnected},
		"file is not there":  {map[string]any{"ca": "/does/not/exist"}, driver.InvalidConfig},
		"file is not a cert": {map[string]any{"ca": a.path("client.key")}, driver.InvalidConfig},
		"key of another":     {map[string]any{"cert": files["cert"], "key": a.path("server.key")}, driver.InvalidConfig},
	} {
		_, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second,
			Settings: settings(t, "broker", url, "client_id", "other", "tls", tc.tls)}, driver.Env{})
		if driver.CodeOf(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
