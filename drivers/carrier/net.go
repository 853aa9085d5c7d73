package carrier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/driver"
)

// netConn is a connection over the network.
type netConn struct {
	net.Conn
	raw syscall.RawConn // of the socket

	looking sync.Mutex       // guards what follows
	look    func(fd uintptr) // sets ended; made once, for it is called before every request
	ended   bool
	polled  [1]unix.PollFd
}

func newNetConn(conn net.Conn) *netConn {
	c := &netConn{Conn: conn}
	if s, ok := conn.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn() // fails only when closed
	}
	c.look = func(fd uintptr) {
		c.polled[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
		n, err := unix.Poll(c.polled[:], 0)
		c.ended = err == nil && n > 0
	}
	return c
}

// A socket is a netConn whose bytes are those of the peer, so that they may be read from its
// descriptor too.
type socket struct{ *netConn }

var (
	_ Conn         = socket{}
	_ syscall.Conn = socket{}
)

// SyscallConn is the socket itself.
func (s socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// dial connects over TCP or UDP.
func dial(ctx context.Context, a *Address) (*netConn, error) {
	network := "tcp"
	if a.scheme == schemeUDP {
		network = "udp"
	}
	d := net.Dialer{}
	if a.KeepAlive != nil {
		d.KeepAliveConfig = net.KeepAliveConfig{Enable: *a.KeepAlive > 0, Idle: time.Duration(*a.KeepAlive), Interval: time.Duration(*a.KeepAlive)}
		if *a.KeepAlive == 0 {
			d.KeepAlive = -1
		}
	}
	if a.Source != "" {
		from, err := netip.ParseAddr(a.Source)
		if err != nil {
			return nil, driver.Errorf(driver.InvalidConfig, "source %q is no IP address", a.Source)
		}
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
	}
	conn, err := d.DialContext(ctx, network, a.place)
	if err != nil {
		return nil, ConnectError(a, err)
	}
	return newNetConn(conn), nil
}

// ConnectError is the fault for a connection that did not come about. It says so where the
// machine and not the device refuses.
func ConnectError(a *Address, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && a.Source != "":
		return driver.Errorf(driver.NotConnected, "connect to %s: this machine has no address %s, which `source` names: %w", a, a.Source, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EAFNOSUPPORT):
		return driver.Errorf(driver.NotConnected, "connect to %s: its confinement, or a firewall, keeps the driver from the port: "+
			"it is given those that the URLs of its links name: %w", a, err)
	}
	return driver.Errorf(driver.NotConnected, "connect to %s: %w", a, err)
}

// Ended looks whether the other side has ended the connection, also behind what it has sent
// and was not read. A datagram socket has no other side.
func (c *netConn) Ended() bool {
	if _, ok := c.Conn.(*net.UDPConn); ok {
		return false
	}
	c.looking.Lock()
	defer c.looking.Unlock()
	// Control and not Read, which minds a deadline of the past.
	closed := c.raw.Control(c.look)
	return c.ended || closed != nil
}

// mostDiscarded bounds what Discard takes of a peer that never stops.
const mostDiscarded = 1 << 20

// Discard throws away what has arrived.
func (c *netConn) Discard() error {
	var buf [4096]byte
	err := c.raw.Control(func(fd uintptr) {
		for total := 0; total < mostDiscarded; {
			n, _, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT)
			if n <= 0 || err != nil {
				break
			}
			total += n
		}
	})
	if err != nil {
		return driver.Errorf(driver.NotConnected, "read: %w", err)
	}
	return nil
}

// tlsConn is a connection under TLS: what has arrived can be told only by reading it.
type tlsConn struct {
	*tls.Conn
	under *netConn
}

var _ Conn = tlsConn{}

// Ended looks below the encryption: after the end of the other side there is nothing to read.
func (c tlsConn) Ended() bool { return c.under.Ended() }

// Discard reads what has arrived.
func (c tlsConn) Discard() error {
	var buf [4096]byte
	for total := 0; total < mostDiscarded; {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond)) // fails only when closed
		n, err := c.Read(buf[:])
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return driver.Errorf(driver.NotConnected, "read: %w", err)
		}
	}
	return c.SetReadDeadline(time.Time{})
}

// dialTLS connects and makes the handshake.
func dialTLS(ctx context.Context, a *Address, env driver.Env) (Conn, error) {
	cfg, err := a.tlsConfig(ctx, env)
	if err != nil {
		return nil, err
	}
	under, err := dial(ctx, a)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(under.Conn, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = under.Close()
		return nil, driver.Errorf(driver.NotConnected, "connect to %s: TLS: %w", a, err)
	}
	if role := peerRole(conn.ConnectionState().PeerCertificates); role != "" && env.Log != nil {
		env.Log.Info("the certificate of the device names its role", "address", a.String(), "role", role)
	}
	return tlsConn{conn, under}, nil
}

// tlsConfig reads the certificates, each time anew, so that a renewed one is used by the next
// connection. Modbus/TCP Security (MB-TCP-Security V21, clause R-06) asks for TLS 1.2.
func (a *Address) tlsConfig(ctx context.Context, env driver.Env) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.host}
	t := a.TLS
	if t == nil {
		return cfg, nil
	}
	if t.ServerName != "" {
		cfg.ServerName = t.ServerName
	}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, driver.Errorf(driver.NotConnected, "tls: ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, driver.Errorf(driver.InvalidConfig, "tls: ca: %s has no certificate in PEM", t.CA)
		}
	}
	if t.Cert == "" {
		return cfg, nil
	}
	pair, err := t.pair(ctx, env)
	if err != nil {
		return nil, driver.Errorf(driver.NotConnected, "tls: cert and key: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// pair reads the client's certificate and its key.
func (t *TLS) pair(ctx context.Context, env driver.Env) (tls.Certificate, error) {
	name, secret := strings.CutPrefix(t.Key, driver.SecretPrefix)
	if !secret {
		return tls.LoadX509KeyPair(t.Cert, t.Key)
	}
	key, err := env.Secret(ctx, name)
	if err != nil {
		return tls.Certificate{}, err
	}
	certificate, err := os.ReadFile(t.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, key)
}

// roleOID is the extension with a role, of Modbus/TCP Security (clause R-22).
var roleOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 50316, 802, 1}

// peerRole is the role that the other side's certificate names; empty: none. It is shown and
// not judged.
func peerRole(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	for _, e := range chain[0].Extensions {
		if !e.Id.Equal(roleOID) {
			continue
		}
		var role string
		if _, err := asn1.Unmarshal(e.Value, &role); err != nil {
			return fmt.Sprintf("unreadable: %x", e.Value)
		}
		return role
	}
	return ""
}
