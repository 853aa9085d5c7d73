package host

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// handshake is the first line of a driver's standard output.
type handshake struct {
	version          int
	network, address string
	certificate      []byte // DER; nil: none
}

// parseHandshake reads and checks the line. Its errors are for the author or the
// operator: they say what was found.
func parseHandshake(line string) (handshake, error) {
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 5 || parts[0] != strconv.Itoa(goplugin.CoreProtocolVersion) {
		return handshake{}, fmt.Errorf("it printed %s before its handshake: a driver must print nothing to standard output before Serve",
			wire.Quoted(line))
	}
	version, err := strconv.Atoi(parts[1])
	if err != nil {
		return handshake{}, fmt.Errorf("its handshake %s has no version", wire.Quoted(line))
	}
	if version != wire.ProtocolVersion {
		return handshake{}, fmt.Errorf("it speaks version %d of the driver protocol, the gateway speaks %d: update the one that is older",
			version, wire.ProtocolVersion)
	}
	shake := handshake{version: version, network: parts[2], address: parts[3]}
	if parts[4] != string(goplugin.ProtocolGRPC) {
		return handshake{}, fmt.Errorf("it serves %q, not grpc", parts[4])
	}
	if err := wire.CheckAddress(shake.network, shake.address); err != nil {
		return handshake{}, err
	}
	if len(parts) > 5 && parts[5] != "" {
		shake.certificate, err = driverCertificate(parts[5])
	}
	return shake, err
}

// driverCertificate decodes the last part of a handshake.
func driverCertificate(part string) ([]byte, error) {
	der, err := base64.RawStdEncoding.DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("certificate in the handshake: %w", err)
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("certificate in the handshake: %w", err)
	}
	return der, nil
}
