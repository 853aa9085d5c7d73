package wire

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/fieldloom/fieldloom/core/internal/socket"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// ProtocolVersion is the version of proto/driver/v1 that both sides negotiate. It
// changes only when an old peer can no longer be understood.
const ProtocolVersion = 1

// What go-plugin puts into the environment of a process that it starts.
const (
	EnvVersions   = "PLUGIN_PROTOCOL_VERSIONS"
	EnvSocketDir  = goplugin.EnvUnixSocketDir
	EnvClientCert = "PLUGIN_CLIENT_CERT"
	EnvCookie     = "FIELDLOOM_DRIVER"
	Cookie        = "b1946ac92492d2347c6235b4d2611184"

	// EnvLogLevel tells a driver the lowest level that the core keeps, because
	// a line costs as much as 200 samples and is best not written at all.
	EnvLogLevel = "FIELDLOOM_LOG_LEVEL"
	// EnvDetach, when it is 1, tells a driver that it outlives the process that started it, and
	// EnvOrphan how long it runs without a core.
	EnvDetach = "FIELDLOOM_DETACH"
	EnvOrphan = "FIELDLOOM_ORPHAN"
	// EnvOwner marks a process as one that a core of the same mark has started.
	EnvOwner = "FIELDLOOM_OWNER"
	// EnvSpill is how many bytes of its socket directory the ring may take.
	EnvSpill = "FIELDLOOM_SPILL"
	// EnvServe is the path of the record that a driver writes which somebody starts by hand.
	EnvServe = "FIELDLOOM_SERVE"
	// EnvTried is a file that is locked as long as whoever tries the driver lives, and reads
	// the record by himself.
	EnvTried = "FIELDLOOM_TRIED"
)

// MaxReceiveDriver bounds a message to a driver: the State of a large gateway.
// maxReceiveCore bounds one from a driver, which is not trusted with the core's memory.
const (
	MaxReceiveDriver = 64 << 20
	MaxReceiveCore   = 8 << 20
)

// HandshakeConfig is what go-plugin compares before a process serves.
func HandshakeConfig() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{MagicCookieKey: EnvCookie, MagicCookieValue: Cookie}
}

// VersionedPlugins are the versions of the protocol that this side speaks; register adds the
// service to a server, and is nil on the core's side.
func VersionedPlugins(register func(*grpc.Server)) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ProtocolVersion: {"driver": &service{register: register}}}
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

// CheckAddress lets a driver listen where nobody outside the machine reaches it.
func CheckAddress(network, address string) error {
	switch network {
	case "unix":
		if address == "" || len(address) > socket.MaxPath {
			return fmt.Errorf("it listens on a socket path of %d bytes: 1 to %d are possible", len(address), socket.MaxPath)
		}
		return nil
	case "tcp":
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("it listens on %s: only a Unix socket or a loopback address is taken", Quoted(address))
		}
		return nil
	default:
		return fmt.Errorf("it listens on a network %s: only unix and tcp are known", Quoted(network))
	}
}

// Quoted returns s quoted, cut to what fits into an error.
func Quoted(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "..."
	}
	return strconv.Quote(s)
}
