package machine

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxPEM is how much of a file of certificates is looked at.
const maxPEM = 1 << 20

// pemFiles are the certificates and private keys that one link names.
type pemFiles struct {
	now          time.Time
	certificates []*x509.Certificate
	keys         []pemKey
	texts        []string
}

type pemKey struct {
	path   string
	public crypto.PublicKey
}

// add reads a file, if it is one of certificates or keys. An error says why such a file
// cannot be used.
func (p *pemFiles) add(path string) error {
	blocks, err := readPEM(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s cannot be read by this user: %w", path, err)
	case len(blocks) == 0 && isPEM(path):
		return fmt.Errorf("%s holds no certificate and no key: it is not PEM", path)
	}
	for _, block := range blocks {
		if err := p.block(path, block); err != nil {
			return err
		}
	}
	return nil
}

// readPEM returns what stands in a file of certificates or keys; of any other nothing.
func readPEM(path string) (blocks []*pem.Block, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	return blocks, nil
}

func (p *pemFiles) block(path string, block *pem.Block) error {
	switch {
	case block.Type == "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s holds a certificate that cannot be read: %w", path, err)
		}
		p.certificates = append(p.certificates, c)
		if p.now.Before(c.NotBefore) {
			p.texts = append(p.texts, fmt.Sprintf("the certificate of %q in %s is not in force before %s", c.Subject.CommonName, path, c.NotBefore.Format(time.DateOnly)))
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		if public := publicOf(block); public != nil {
			p.keys = append(p.keys, pemKey{path, public})
		}
	}
	return nil
}

// publicOf returns the public key that belongs to a private one; nil for one that is
// encrypted or of another kind.
func publicOf(block *pem.Block) crypto.PublicKey {
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if rsaKey, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return rsaKey.Public()
		}
		if ecKey, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return ecKey.Public()
		}
		return nil
	}
	if signer, ok := key.(crypto.Signer); ok {
		return signer.Public()
	}
	return nil
}

// doubts returns what is wrong with the files of a link together: a key must fit one of
// the certificates.
func (p *pemFiles) doubts() []string {
	list := p.texts
	for _, key := range p.keys {
		fits := slices.ContainsFunc(p.certificates, func(c *x509.Certificate) bool {
			public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
			return ok && public.Equal(key.public)
		})
		if !fits && len(p.certificates) > 0 {
			list = append(list, fmt.Sprintf("the key in %s fits none of the certificates that the link names", key.path))
		}
	}
	return list
}
