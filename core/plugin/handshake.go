package plugin

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	goplugin "github.com/hashicorp/go-plugin"

	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// protocolVersion is the version of proto/driver/v1 that both sides negotiate. It
// changes only when an old peer can no longer be understood.
const protocolVersion = 1

// What go-plugin puts into the environment of a process that it starts.
const (
	envVersions   = "PLUGIN_PROTOCOL_VERSIONS"
	envSocketDir  = goplugin.EnvUnixSocketDir
	envClientCert = "PLUGIN_CLIENT_CERT"
	envCookie     = "FIELDLOOM_DRIVER"
	cookie        = "b1946ac92492d2347c6235b4d2611184"

	// envLogLevel tells a driver the lowest level that the core keeps, because
	// a line costs as much as 200 samples and is best not written at all.
	envLogLevel = "FIELDLOOM_LOG_LEVEL"
	// envDetach, when it is 1, tells a driver that it outlives the process that
	// started it, and envOrphan for how long it goes on without a core.
	envDetach = "FIELDLOOM_DETACH"
	envOrphan = "FIELDLOOM_ORPHAN"
	// envOwner marks a process as one that a core of the same mark has started.
	envOwner = "FIELDLOOM_OWNER"
	// envSpill is how many bytes of its socket directory the ring may take.
	envSpill = "FIELDLOOM_SPILL"
	// envServe is the path of the record that a driver writes which somebody starts by hand.
	envServe = "FIELDLOOM_SERVE"
	// envTried is a file that is locked as long as whoever tries the driver lives, and reads
	// the record by himself.
	envTried = "FIELDLOOM_TRIED"
)

// maxReceiveDriver bounds a message to a driver: the State of a large gateway.
// maxReceiveCore bounds one from a driver, which is not trusted with the core's memory.
const (
	maxReceiveDriver = 64 << 20
	maxReceiveCore   = 8 << 20
)

func handshakeConfig() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{MagicCookieKey: envCookie, MagicCookieValue: cookie}
}

func versionedPlugins(register func(*grpc.Server)) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{protocolVersion: {"driver": &service{register: register}}}
}

// service makes DriverService known to go-plugin.
type service struct {
	goplugin.NetRPCUnsupportedPlugin
	register func(*grpc.Server)
}

var _ goplugin.GRPCPlugin = (*service)(nil)

// GRPCServer registers the service in the driver process.
func (s *service) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	s.register(server)
	return nil
}

// GRPCClient is what Dispense would return; Launch dials for itself.
func (s *service) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return driverv1.NewDriverServiceClient(conn), nil
}

// versionMismatch is what the driver says on its stderr when the core offers no
// version that it speaks; the core says the same of the driver. It is empty when
// one fits.
func versionMismatch(driver, offered string) string {
	if offered == "" || slices.Contains(strings.Split(offered, ","), strconv.Itoa(protocolVersion)) {
		return ""
	}
	return fmt.Sprintf("driver %s speaks version %d of the driver protocol, the gateway offers %s: update the one that is older",
		driver, protocolVersion, offered)
}

// byHand is what somebody reads who starts a driver in a terminal.
func byHand(name, version string) string {
	return fmt.Sprintf(`%[1]s is a driver of the Fieldloom gateway (version %[2]s).
It does nothing by itself: the gateway starts it when a link says so.

Put it into the gateway's drivers directory as driver-%[1]s and write

    links:
      line1:
        driver: %[1]s

into a file of the links directory; then: fieldloom run
`, name, version)
}

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
			quoted(line))
	}
	version, err := strconv.Atoi(parts[1])
	if err != nil {
		return handshake{}, fmt.Errorf("its handshake %s has no version", quoted(line))
	}
	if version != protocolVersion {
		return handshake{}, fmt.Errorf("it speaks version %d of the driver protocol, the gateway speaks %d: update the one that is older",
			version, protocolVersion)
	}
	shake := handshake{version: version, network: parts[2], address: parts[3]}
	if parts[4] != string(goplugin.ProtocolGRPC) {
		return handshake{}, fmt.Errorf("it serves %q, not grpc", parts[4])
	}
	if err := checkAddress(shake.network, shake.address); err != nil {
		return handshake{}, err
	}
	if len(parts) > 5 && parts[5] != "" {
		shake.certificate, err = driverCertificate(parts[5])
	}
	return shake, err
}

// checkAddress lets a driver listen where nobody outside the machine reaches it.
func checkAddress(network, address string) error {
	switch network {
	case "unix":
		if address == "" || len(address) > maxSocketPath {
			return fmt.Errorf("it listens on a socket path of %d bytes: 1 to %d are possible", len(address), maxSocketPath)
		}
		return nil
	case "tcp":
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("it listens on %s: only a Unix socket or a loopback address is taken", quoted(address))
		}
		return nil
	default:
		return fmt.Errorf("it listens on a network %s: only unix and tcp are known", quoted(network))
	}
}

// maxSocketPath is what fits into sockaddr_un with its final zero; see unix(7).
const maxSocketPath = 107

func quoted(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "..."
	}
	return strconv.Quote(s)
}
