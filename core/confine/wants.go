package confine

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// portDNS is where names are resolved.
const portDNS = 53

// scheme knows the URLs of links: the port that each stands for, 0 where it stands for
// none, and whether TLS is spoken there.
func scheme(name string) (port uint16, tls, ok bool) {
	switch name {
	case "tcp":
		return 0, false, true
	case "mqtt":
		return 1883, false, true
	case "mqtts", "ssl", "tls":
		return 8883, true, true
	case "http":
		return 80, false, true
	case "https":
		return 443, true, true
	}
	return 0, false, false
}

// AddURL lets the process connect to what a URL names: its TCP port, on any host, and
// what is needed to resolve the host where it is a name and to check certificates
// where the scheme speaks TLS. defaultPort is for a URL without a port; 0: the scheme's.
func (p *Policy) AddURL(text string, defaultPort uint16) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	port, tls, ok := scheme(u.Scheme)
	if !ok || u.Hostname() == "" {
		return fmt.Errorf("confine: %q names no host and port that a link could connect to", u.Redacted())
	}
	if defaultPort != 0 {
		port = defaultPort
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return fmt.Errorf("confine: port of %q: %w", u.Redacted(), err)
		}
		port = uint16(n)
	}
	if port == 0 {
		return fmt.Errorf("confine: %q has no port", u.Redacted())
	}
	if tls {
		p.AddCertificates()
	}
	p.AddHost(u.Hostname(), port)
	return nil
}

// AddHost lets the process connect to a TCP port, and resolve the host where it is a name.
func (p *Policy) AddHost(host string, port uint16) {
	p.ConnectTCP = with(p.ConnectTCP, port)
	if _, err := netip.ParseAddr(host); err != nil {
		p.AddNames()
	}
}

// AddNames lets the process resolve names: the files that say how, and DNS.
func (p *Policy) AddNames() {
	p.Read = with(p.Read, "/etc/resolv.conf", "/etc/hosts")
	if order := "/etc/nsswitch.conf"; look(order).Inode != 0 { // not every system has it
		p.Read = with(p.Read, order)
	}
	p.ConnectTCP = with(p.ConnectTCP, portDNS) // for long answers
	p.ConnectUDP = with(p.ConnectUDP, portDNS)
}

// AddCertificates lets the process read the machine's certificate authorities.
func (p *Policy) AddCertificates() {
	for _, dir := range []string{"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"} {
		if look(dir).Inode != 0 {
			p.Read = with(p.Read, dir)
		}
	}
}

// AddDevice gives the process a tty. A path that is a symbolic link, as those below
// /dev/serial/by-id are, stands for what it leads to at the start.
func (p *Policy) AddDevice(path string) { p.Devices = with(p.Devices, filepath.Clean(path)) }

// AddValue gives the process what one text of a link's settings evidently names: the
// host and port of a URL of a scheme that AddURL knows, a device file, or a file to
// read. Any other text gives nothing, a directory neither. It is for drivers whose
// manifest asks for what their links name.
func (p *Policy) AddValue(text string, defaultPort uint16) {
	if filepath.IsAbs(text) {
		p.addFile(filepath.Clean(text))
		return
	}
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		_ = p.AddURL(text, defaultPort) // an error says that it names nothing
	}
}

func (p *Policy) addFile(path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil && strings.HasPrefix(path, "/dev/"): // not plugged in yet
		p.AddDevice(path)
	case err != nil:
	case info.Mode().Type() == os.ModeDevice|os.ModeCharDevice:
		p.AddDevice(path)
	case info.Mode().IsRegular():
		p.Read = with(p.Read, path)
	}
}

func with[T comparable](list []T, more ...T) []T {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}
