package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
)

// EnvAttach names the environment variable that has a gateway use drivers which
// somebody started by hand: name=path of the record, separated by commas.
const EnvAttach = "FIELDLOOM_ATTACH"

// ParseAttach reads the value of EnvAttach: the records' paths by the drivers' names.
func ParseAttach(text string) (map[string]string, error) {
	paths := map[string]string{}
	for entry := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, path, ok := strings.Cut(strings.TrimSpace(entry), "=")
		path = strings.TrimPrefix(path, "@")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("%s: %q is not name=path of a record", EnvAttach, entry)
		}
		if paths[name] != "" {
			return nil, fmt.Errorf("%s: driver %s is named twice", EnvAttach, name)
		}
		paths[name] = path
	}
	return paths, nil
}

// HandDirPrefix begins the name of the directory of a driver that was started by hand.
const HandDirPrefix = "fieldloom-"

// Prepare makes the keys of both sides, and fills in who the process is.
func (r *Record) Prepare(address string) (credentials.TransportCredentials, error) {
	if err := CheckAddress("unix", address); err != nil {
		return nil, fmt.Errorf("%w: set TMPDIR to a shorter directory", err)
	}
	core, err := NewIdentity()
	if err != nil {
		return nil, err
	}
	own, err := NewIdentity()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(own.Certificate, own.Key)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(core.Certificate)
	block, _ := pem.Decode(own.Certificate)
	core.Network, core.Address, core.Version, core.PID, core.Driver = "unix", address, ProtocolVersion, os.Getpid(), block.Bytes
	r.Identity = core
	if err := r.Observe(os.Getpid()); err != nil {
		return nil, err
	}
	if r.Image, err = ImageOf(os.Getpid()); err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		MinVersion: tls.VersionTLS13,
	}), nil
}
