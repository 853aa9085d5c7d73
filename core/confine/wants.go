package confine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// portDNS is where names are resolved.
const portDNS = 53

// AddHost lets the process connect to a TCP port, and resolve the host where it is a name.
func (p *Policy) AddHost(host string, port uint16) {
	p.ConnectTCP = with(p.ConnectTCP, port)
	p.AddName(host)
}

// AddUDPHost lets the process send datagrams to a port, and resolve the host where it is a
// name.
func (p *Policy) AddUDPHost(host string, port uint16) {
	p.ConnectUDP = with(p.ConnectUDP, port)
	p.AddName(host)
}

// AddName lets the process resolve a host where it is a name and no address.
func (p *Policy) AddName(host string) {
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

// AddFile gives the process the file at an absolute path: a tty where it is one, or where
// nothing is there yet and the path is below /dev; else a file to read. A directory gives
// nothing.
func (p *Policy) AddFile(path string) {
	path = filepath.Clean(path)
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
