package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ServerName is the name that go-plugin puts into every certificate.
const ServerName = "localhost"

// An Identity is what a core needs to speak to a driver process that it started:
// where it listens, and the key that it listens to. go-plugin makes one too, and
// forgets it; this one can be stored (as JSON, in a file of mode 0600: it holds a
// private key) and used by the core's next process.
type Identity struct {
	Network string `json:"network"` // "unix" or "tcp"
	Address string `json:"address"`
	Version int    `json:"version"` // of the protocol, as negotiated
	PID     int    `json:"pid"`

	Certificate []byte `json:"certificate"` // the core's, PEM
	Key         []byte `json:"key"`         // the core's, PEM
	Driver      []byte `json:"driver"`      // the certificate that the driver showed, DER; nil: no TLS
}

// NewIdentity makes a key for one process. It is P-256 and not go-plugin's P-521,
// which takes several times as long and which BoringSSL, so gRPC in Python, refuses.
func NewIdentity() (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make identity: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Identity{}, fmt.Errorf("make identity: %w", err)
	}
	template := &x509.Certificate{
		Subject:      pkix.Name{CommonName: ServerName, Organization: []string{"Fieldloom"}},
		DNSNames:     []string{ServerName},
		SerialNumber: serial,
		NotBefore:    time.Now().Add(-time.Hour), // a gateway's clock may step back once it has found the time
		NotAfter:     time.Now().AddDate(30, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("make identity: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Identity{}, fmt.Errorf("make identity: %w", err)
	}
	return Identity{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}, nil
}

// TLS returns the configuration of a connection on which both sides prove who they
// are: the driver must show exactly the certificate of its handshake.
func (id Identity) TLS() (*tls.Config, error) {
	own, err := tls.X509KeyPair(id.Certificate, id.Key)
	if err != nil {
		return nil, fmt.Errorf("identity of driver process %d: %w", id.PID, err)
	}
	leaf, err := x509.ParseCertificate(id.Driver)
	if err != nil {
		return nil, fmt.Errorf("identity of driver process %d: its certificate: %w", id.PID, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{own},
		RootCAs:      roots,
		ServerName:   ServerName,
		MinVersion:   tls.VersionTLS13,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, id.Driver) {
				return errors.New("the peer is not the driver process that was started")
			}
			return nil
		},
	}, nil
}
