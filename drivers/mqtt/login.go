package mqtt

import (
	"context"
	"crypto/tls"
	"os"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// login is who the link is to the broker, with secrets in the place of their names. It
// lives no longer than Open needs it.
type login struct {
	username, password string
	key                []byte // PEM; nil: in a file
}

// login asks for the secrets that the settings name.
func (s *linkSettings) login(ctx context.Context, env driver.Env) (who *login, err error) {
	who = &login{}
	if who.username, err = env.Resolve(ctx, s.Username); err != nil {
		return nil, err
	}
	if who.password, err = env.Resolve(ctx, s.Password); err != nil {
		return nil, err
	}
	if s.TLS == nil {
		return who, nil
	}
	if name, is := strings.CutPrefix(s.TLS.Key, driver.SecretPrefix); is {
		who.key, err = env.Secret(ctx, name)
	}
	return who, err
}

// credentials is asked by the library when it connects, which is once.
func (w *login) credentials() (username, password string) { return w.username, w.password }

// forget leaves nothing to be found in the memory of a link that lives for years, as
// far as a garbage collector allows.
func (w *login) forget() {
	clear(w.key)
	*w = login{}
}

// pair reads the link's own certificate.
func (t *tlsSettings) pair(who *login) (tls.Certificate, error) {
	if who.key == nil {
		return tls.LoadX509KeyPair(t.Cert, t.Key)
	}
	certificate, err := os.ReadFile(t.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, who.key)
}
